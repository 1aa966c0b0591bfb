//! Times the cases in turn, one short batch each, so that other load on the machine affects all of them equally.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// An operation that a bench repeats.
pub struct Case<'a> {
    pub name: String,
    run: Box<dyn FnMut(u32) -> Duration + 'a>,
    samples: Vec<f64>,
}

impl<'a> Case<'a> {
    /// Times `run`, which repeats the operation as often as its argument says.
    pub fn new(name: impl Into<String>, mut run: impl FnMut(u32) + 'a) -> Self {
        Self::timed(name, move |times| {
            let start = Instant::now();
            run(times);
            start.elapsed()
        })
    }

    /// Uses the time that `run` returns.
    pub fn timed(name: impl Into<String>, run: impl FnMut(u32) -> Duration + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run), samples: Vec::new() }
    }

    /// Times several threads. Each creates its own worker and repeats the operation; the slowest thread counts.
    pub fn threaded<R: FnMut(u32)>(
        name: impl Into<String>,
        threads: usize,
        worker: impl Fn() -> R + Sync + 'a,
    ) -> Self {
        Self::timed(name, move |times| {
            let (ready, worker) = (Barrier::new(threads), &worker);
            let run = || {
                let mut run = worker();
                ready.wait();
                let start = Instant::now();
                run(times);
                (start, Instant::now())
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                let spans: Vec<_> =
                    threads.into_iter().map(|thread| thread.join().unwrap()).collect();
                let start = spans.iter().map(|span| span.0).min().unwrap();
                spans.iter().map(|span| span.1).max().unwrap() - start
            })
        })
    }

    /// Returns the median time of one operation of a thread, in nanoseconds.
    pub fn median(&self) -> f64 {
        median(self.samples.clone())
    }
}

/// Runs all cases in turn, after a warm-up round. Each round reverses the order.
pub fn interleave(cases: &mut [Case<'_>], rounds: usize, times: u32) {
    for round in 0..=rounds {
        let first = round % cases.len().max(1);
        let (front, back) = cases.split_at_mut(first);
        for case in back.iter_mut().chain(front) {
            let took = (case.run)(times);
            if round > 0 {
                case.samples.push(took.as_secs_f64() * 1e9 / f64::from(times));
            }
        }
    }
}

pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
