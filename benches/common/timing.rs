//! Times cases in turns, a short batch each, so that what the machine does meanwhile falls on all of them alike.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// Something that is done a number of times.
pub struct Case<'a> {
    pub name: String,
    run: Box<dyn FnMut(u32) -> Duration + 'a>,
    samples: Vec<f64>,
}

impl<'a> Case<'a> {
    /// `run` does the thing so many times, and is timed.
    pub fn new(name: impl Into<String>, mut run: impl FnMut(u32) + 'a) -> Self {
        Self::timed(name, move |times| {
            let start = Instant::now();
            run(times);
            start.elapsed()
        })
    }

    /// `run` measures itself.
    pub fn timed(name: impl Into<String>, run: impl FnMut(u32) -> Duration + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run), samples: Vec::new() }
    }

    /// Each of the threads does the thing so many times, with a worker of its own making; the time is that of the last to end.
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
                let spans: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
                let start = spans.iter().map(|span| span.0).min().unwrap();
                spans.iter().map(|span| span.1).max().unwrap() - start
            })
        })
    }

    /// The median, in nanoseconds for each time the thing was done (by each thread).
    pub fn median(&self) -> f64 {
        median(self.samples.clone())
    }
}

/// Runs all cases in turns, after a first round that does not count. The order turns round from round to round.
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
