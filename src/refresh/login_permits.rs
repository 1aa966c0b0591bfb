//! [`LoginPermits`]: limits how many logins of several refreshers are under way at the same time.
//!
//! A worker takes a [`Place`] in line before its login. It polls the place when it is woken, and at least once a
//! [`LINE_TICK`](super::login_line::LINE_TICK).
//!
//! The place belongs to the refresher: a worker that replaces another one keeps it.
//!
//! A free permit is not handed over. It wakes the workers that are next, and the first of them to poll takes it. So a
//! worker whose runtime stands still keeps no permit, and the others skip it. A login whose runtime stands still loses
//! its permit soon after its time limit.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::login_line::{Arrival, LoginLine, Pace};
use crate::panic;

/// The permits that several refreshers share.
#[derive(Debug)]
pub(crate) struct LoginPermits {
    line: Mutex<LoginLine>,
    last_arrival: AtomicU64,
}

/// A worker's place in line that becomes a permit. Its drop leaves the line, or returns the permit.
#[derive(Debug)]
pub(crate) struct Place {
    permits: Arc<LoginPermits>,
    arrival: Arrival,
    wake: Arc<Notify>,
    has_permit: bool,
}

impl LoginPermits {
    #[cfg_attr(
        not(feature = "keyed"),
        allow(dead_code, reason = "only refreshers with keys share permits")
    )]
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { line: Mutex::new(LoginLine::new(max)), last_arrival: AtomicU64::new(0) })
    }

    /// Returns the position at the end of the line.
    pub(crate) fn next_arrival(&self) -> Arrival {
        Arrival(self.last_arrival.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes the place of an arrival. It does not count before its first poll. `wake` is notified when it is next.
    pub(crate) fn enter(self: &Arc<Self>, arrival: Arrival, wake: Arc<Notify>) -> Place {
        Place { permits: self.clone(), arrival, wake, has_permit: false }
    }

    /// Changes the line, and wakes the workers that are next after that.
    fn change<R>(&self, change: impl FnOnce(&mut LoginLine, Instant) -> R) -> R {
        #[expect(
            clippy::disallowed_methods,
            reason = "the permits belong to no refresher, whose clock they could use"
        )]
        let now = Instant::now();
        let (result, next) = {
            let mut line = self.lock();
            (change(&mut line, now), line.next_places(now))
        };
        for (_, wake) in next {
            // A waker is user code, and this also runs in a destructor.
            panic::catch(|| wake.notify_one());
        }
        result
    }

    /// Nothing panics under this lock, so a poisoned one is still valid.
    fn lock(&self) -> MutexGuard<'_, LoginLine> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn has_permit(&self) -> bool {
        self.has_permit
    }

    pub(crate) fn poll(&mut self, pace: Pace, login_timeout: Duration) {
        if !self.has_permit {
            self.has_permit = self
                .permits
                .change(|line, now| line.poll(self.arrival, pace, login_timeout, &self.wake, now));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.permits.change(|line, now| line.leave(self.arrival, &self.wake, now));
    }
}
