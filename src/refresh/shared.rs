//! What the handles and the worker of one identity share.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    builder::Settings,
    current::Current,
    lease::{Lease, Moment},
    status::{State, Status},
    worker::{self, Duty, Worker},
};
use crate::{LoginError, login::Kind};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) current: Current,
    pub(crate) settings: Settings,
    pub(crate) status: watch::Sender<Status>,
    /// What the handles want. The worker sees it close when the last handle is dropped.
    pub(crate) demand: watch::Sender<Demand>,
    shelf: Mutex<Shelf>,
}

/// What handles have asked for so far. Counters, so that nothing asked for can be missed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// Calls that came and found no token.
    pub(crate) wants: u64,
    /// Refreshes asked for by hand.
    pub(crate) forces: u64,
    /// The newest generation that has been rejected.
    pub(crate) rejected: u64,
    pub(crate) shut_down: bool,
}

/// Where the duty is: here while no worker has it.
#[derive(Debug)]
enum Shelf {
    Resting(Box<Duty>),
    Taken,
    Closed,
}

/// A caller gives up on workers when it has lost so many: its runtime is ending.
const MOST_LOST_WORKERS: u64 = 3;

impl Shared {
    pub(crate) fn new(duty: Duty, settings: Settings) -> Self {
        Self {
            current: Current::default(),
            settings,
            status: watch::Sender::new(Status::new()),
            demand: watch::Sender::new(Demand::default()),
            shelf: Mutex::new(Shelf::Resting(Box::new(duty))),
        }
    }

    /// Nothing panics under this lock, so a poisoned one is as good as any.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment {
            wall: self.settings.clock.now(),
            monotonic: Instant::now(),
        }
    }

    /// Waits for a token, at most as long as a caller may.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        if let Some(lease) = &*self.current.load() {
            return Ok(lease.clone());
        }
        self.check_caller()?;
        let limit = self.settings.wait_timeout;
        timeout(limit, self.wait_for_token())
            .await
            .unwrap_or_else(|_| Err(self.out_of_time(limit)))
    }

    async fn wait_for_token(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        let mut status = self.status.subscribe();
        let (ended, lost) = {
            let status = status.borrow();
            (status.ended, status.lost_workers)
        };
        let mut asked = false;
        loop {
            // The status first, then the cell: the worker writes them the other way round, so that no change between
            // the two is missed.
            let failure = {
                let status = status.borrow_and_update();
                if status.lost_workers - lost >= MOST_LOST_WORKERS {
                    return Err(LoginError::new(Kind::WorkerEnded, None));
                }
                let newly_failed = status.last_error.as_ref().filter(|_| status.ended != ended);
                newly_failed
                    .or_else(|| status.failing_at(Instant::now()))
                    .cloned()
            };
            self.ensure_worker()?;
            if let Some(lease) = &*self.current.load() {
                return Ok(lease.clone());
            }
            if let Some(error) = failure {
                return Err(error);
            }
            if !asked {
                self.demand.send_modify(|demand| demand.wants += 1);
                asked = true;
            }
            if status.changed().await.is_err() {
                return Err(LoginError::new(Kind::ShutDown, None));
            }
        }
    }

    /// Waits for the end of a login that is running, or else of one that is started for this caller.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        self.check_caller()?;
        let limit = self
            .settings
            .login_timeout
            .saturating_add(self.settings.wait_timeout);
        timeout(limit, self.wait_for_login())
            .await
            .unwrap_or_else(|_| Err(self.out_of_time(limit)))
    }

    async fn wait_for_login(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        let mut status = self.status.subscribe();
        let (ended, lost) = {
            let status = status.borrow();
            if let Some(error) = status.failing_at(Instant::now()) {
                return Err(error.clone());
            }
            if !status.is_logging_in() {
                self.demand.send_modify(|demand| demand.forces += 1);
            }
            (status.ended, status.lost_workers)
        };
        loop {
            {
                let status = status.borrow_and_update();
                if status.lost_workers - lost >= MOST_LOST_WORKERS {
                    return Err(LoginError::new(Kind::WorkerEnded, None));
                }
                if status.ended != ended {
                    if let Some(error) = &status.last_error {
                        return Err(error.clone());
                    }
                    if let Some(lease) = &*self.current.load() {
                        return Ok(lease.clone());
                    }
                }
            }
            self.ensure_worker()?;
            if status.changed().await.is_err() {
                return Err(LoginError::new(Kind::ShutDown, None));
            }
        }
    }

    /// Whether the caller can wait: on a runtime, and not for itself.
    fn check_caller(self: &Arc<Self>) -> Result<(), LoginError> {
        if worker::is_logging_in_for(self) {
            return Err(LoginError::new(Kind::Reentrant, None));
        }
        runtime().map(drop)
    }

    fn out_of_time(&self, limit: Duration) -> LoginError {
        let last = self.status.borrow().last_error.clone();
        LoginError::new(Kind::WaitTimeout(limit), last.map(Into::into))
    }

    /// Starts a worker on the caller's runtime unless there is one. A token that is still good is in the cell at once.
    fn ensure_worker(self: &Arc<Self>) -> Result<(), LoginError> {
        let now = self.now();
        let (duty, runtime) = {
            let mut shelf = self.shelf();
            match &*shelf {
                Shelf::Taken => return Ok(()),
                Shelf::Closed => return Err(LoginError::new(Kind::ShutDown, None)),
                Shelf::Resting(_) => {}
            }
            let runtime = runtime()?;
            let Shelf::Resting(duty) = mem::replace(&mut *shelf, Shelf::Taken) else {
                return Ok(());
            };
            if let Some(lease) = duty.ledger.usable(now, *self.demand.borrow()) {
                self.current.store(Some(lease.clone()));
            }
            (duty, runtime)
        };
        // Outside the lock: a runtime that is ending drops the worker here and now, which puts the duty back.
        runtime.spawn(Worker::new(self, duty).run());
        Ok(())
    }

    /// The worker's runtime has ended: the next caller starts another from where this one was.
    pub(crate) fn put_back(&self, duty: Box<Duty>) {
        {
            let mut shelf = self.shelf();
            if matches!(*shelf, Shelf::Closed) {
                return;
            }
            // Nobody watches the token's end now, so it may not stay where requests would take it.
            self.current.store(None);
            *shelf = Shelf::Resting(duty);
        }
        self.status.send_modify(|status| {
            status.state = State::Idle;
            status.lost_workers += 1;
        });
    }

    /// Puts a token in the cell, unless it has been rejected meanwhile.
    pub(crate) fn publish(&self, lease: &Arc<Lease>) {
        let shelf = self.shelf();
        if !matches!(*shelf, Shelf::Closed) && self.demand.borrow().rejected < lease.generation {
            self.current.store(Some(lease.clone()));
        }
    }

    /// Takes a token that has ended out of the cell.
    pub(crate) fn withdraw(&self, generation: u64) {
        let _shelf = self.shelf();
        self.current.clear_up_to(generation);
    }

    /// A token of this generation is not accepted: it is used no more. Says nothing of newer ones.
    pub(crate) fn reject(&self, generation: u64) {
        let _shelf = self.shelf();
        self.demand.send_if_modified(|demand| {
            let news = demand.rejected < generation;
            demand.rejected = demand.rejected.max(generation);
            news
        });
        self.current.clear_up_to(generation);
    }

    pub(crate) fn shut_down(&self) {
        // What is dropped is somebody else's code, so it is dropped outside the lock.
        let _resting = {
            let mut shelf = self.shelf();
            self.current.store(None);
            mem::replace(&mut *shelf, Shelf::Closed)
        };
        self.demand.send_modify(|demand| demand.shut_down = true);
        self.status
            .send_modify(|status| status.state = State::ShutDown);
    }
}

fn runtime() -> Result<Handle, LoginError> {
    Handle::try_current().map_err(|error| LoginError::new(Kind::NoRuntime, Some(error.into())))
}
