//! [`SingleFlight`]: runs a blocking operation at most once at a time. Concurrent callers share a run.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, error::Elapsed, timeout_at},
};

/// How long a run may take. It is shorter than a refresher's default login timeout, so that the error has the cause.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A blocking operation. Clones share its runs.
pub(super) struct SingleFlight<T>(Arc<Shared<T>>);

struct Shared<T> {
    operation: Box<dyn Fn() -> T + Send + Sync>,
    /// The run under way.
    run: Mutex<Option<Run<T>>>,
}

/// A run, for those who wait for it.
#[derive(Clone)]
struct Run<T> {
    started_at: Instant,
    /// The sender is dropped without a result if the operation panics, or its runtime shuts down before the start.
    result: watch::Receiver<Option<T>>,
}

/// Why a run has no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RunError {
    NoRuntime,
    Cancelled,
    TimedOut,
}

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    pub(super) fn new(operation: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { operation: Box::new(operation), run: Mutex::new(None) }))
    }

    /// Returns the result of a run that started after this call.
    ///
    /// An operation that hangs fails every caller after [`TIMEOUT`], but occupies only one thread.
    pub(super) async fn run(&self) -> Result<T, RunError> {
        let runtime = Handle::try_current().map_err(|_| RunError::NoRuntime)?;
        // A run under way can miss a change that was made before this call.
        let earlier = self.0.lock().clone();
        if let Some(earlier) = earlier {
            earlier.finish().await?;
        }
        loop {
            let (run, is_own) = self.join_or_start(&runtime);
            match run.finish().await? {
                Some(result) => return Ok(result),
                None if is_own => return Err(RunError::Cancelled),
                // The runtime of another caller has shut down.
                None => {}
            }
        }
    }

    fn join_or_start(&self, runtime: &Handle) -> (Run<T>, bool) {
        let (sender, result) = watch::channel(None);
        #[expect(clippy::disallowed_methods, reason = "measures how long the operation takes")]
        let started_at = Instant::now();
        let run = {
            let mut current = self.0.lock();
            if let Some(run) = &*current {
                return (run.clone(), false);
            }
            current.insert(Run { started_at, result }).clone()
        };
        // Without the lock: a runtime that is shutting down drops the operation immediately.
        let end = EndOfRun { shared: self.0.clone(), sender, result: None };
        runtime.spawn_blocking(move || {
            let result = (end.shared.operation)();
            end.with(result);
        });
        (run, true)
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Run<T>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Run<T> {
    /// Returns the result, or `None` if the run was cancelled.
    async fn finish(mut self) -> Result<Option<T>, RunError> {
        let finished =
            timeout_at(self.started_at + TIMEOUT, self.result.wait_for(Option::is_some)).await;
        let finished = finished.map_err(|_: Elapsed| RunError::TimedOut)?;
        Ok(finished.ok().and_then(|result| result.clone()))
    }
}

/// Ends the run when it is dropped, whether or not the operation has returned or even started.
struct EndOfRun<T> {
    shared: Arc<Shared<T>>,
    sender: watch::Sender<Option<T>>,
    result: Option<T>,
}

impl<T> EndOfRun<T> {
    fn with(mut self, result: T) {
        self.result = Some(result);
    }
}

impl<T> Drop for EndOfRun<T> {
    fn drop(&mut self) {
        // First, because a later caller must not join a run that has ended.
        *self.shared.lock() = None;
        self.sender.send_replace(self.result.take());
    }
}

impl<T> Clone for SingleFlight<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime => f.write_str("tokio runtime is missing"),
            Self::Cancelled => f.write_str("cancelled because the runtime shut down"),
            Self::TimedOut => write!(f, "timed out after {TIMEOUT:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use tokio::runtime::Builder;

    use super::*;

    /// An operation that returns its number, each time the test permits it.
    fn permitted() -> (SingleFlight<usize>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (permit, permits) = mpsc::channel();
        let (permits, started) = (Mutex::new(permits), Arc::new(AtomicUsize::new(0)));
        let count = started.clone();
        let flight = SingleFlight::new(move || {
            let n = count.fetch_add(1, SeqCst) + 1;
            permits.lock().unwrap().recv().unwrap();
            n
        });
        (flight, permit, started)
    }

    async fn until_started(started: &AtomicUsize, runs: usize) {
        while started.load(SeqCst) < runs {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn callers_during_a_run_share_the_next_one() {
        let (flight, permit, started) = permitted();
        let mut first = tokio_test::task::spawn(flight.run());
        assert!(first.poll().is_pending());
        until_started(&started, 1).await;
        let mut others: Vec<_> = (0..8).map(|_| tokio_test::task::spawn(flight.run())).collect();
        assert!(others.iter_mut().all(|other| other.poll().is_pending()));
        permit.send(()).unwrap();
        assert_eq!(first.await, Ok(1));
        // Renews tokio's budget for this task. Without it, some of the others would not get far enough.
        tokio::task::yield_now().await;
        assert!(others.iter_mut().all(|other| other.poll().is_pending()));
        permit.send(()).unwrap();
        for other in others {
            assert_eq!(other.await, Ok(2));
        }
        assert_eq!(started.load(SeqCst), 2);
    }

    /// The outer runtime has the paused clock; the operation hangs on a thread of another runtime.
    #[test]
    fn hanging_run_fails_all_callers_and_occupies_one_thread() {
        let (flight, permit, started) = permitted();
        let hanging = Builder::new_current_thread().enable_all().build().unwrap();
        hanging.block_on(async {
            let (run, is_own) = flight.join_or_start(&Handle::current());
            assert!(is_own && run.result.borrow().is_none());
        });
        let paused = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        paused.block_on(async {
            for _ in 0..3 {
                assert_eq!(flight.run().await, Err(RunError::TimedOut));
            }
            until_started(&started, 1).await;
            assert_eq!(started.load(SeqCst), 1);
            // It stops hanging.
            permit.send(()).unwrap();
            permit.send(()).unwrap();
            while flight.0.lock().is_some() {
                tokio::task::yield_now().await;
            }
            assert_eq!(flight.run().await, Ok(2));
        });
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_run_is_repeated_by_another_caller() {
        let (flight, permit, started) = permitted();
        permit.send(()).unwrap();
        // As a runtime that shuts down drops an operation that it has not started.
        let ended = Builder::new_current_thread().build().unwrap();
        let handle = ended.handle().clone();
        ended.shutdown_background();
        let (run, is_own) = flight.join_or_start(&handle);
        assert!(is_own);
        assert_eq!(run.finish().await, Ok(None));
        assert_eq!(flight.run().await, Ok(1));
        assert_eq!(started.load(SeqCst), 1);
    }

    #[test]
    fn call_without_a_runtime_is_an_error() {
        let flight = SingleFlight::new(|| ());
        let mut call = tokio_test::task::spawn(flight.run());
        assert_eq!(call.poll(), std::task::Poll::Ready(Err(RunError::NoRuntime)));
    }
}
