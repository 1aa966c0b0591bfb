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
    builder::{NoTokenPolicy, Settings},
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
    /// A worker has it. A token may lie here instead of in the cell, so that the next call is noticed.
    Taken {
        parked: Option<Arc<Lease>>,
    },
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
        Moment::now(&*self.settings.clock)
    }

    /// Waits for a token, at most as long as a caller may.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        if let Some(lease) = &*self.current.load() {
            return Ok(lease.clone());
        }
        self.check_caller()?;
        let limit = self.settings.wait_timeout;
        timeout(limit, self.wait_for_token()).await.unwrap_or_else(|_| Err(self.out_of_time(limit)))
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
                newly_failed.or_else(|| status.failing_at(Instant::now())).cloned()
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

    /// Whether a call that could get no token is to be sent all the same.
    pub(crate) fn sends_unauthenticated(&self, error: &LoginError) -> bool {
        self.settings.no_token == NoTokenPolicy::SendUnauthenticated && !error.is_shut_down()
    }

    /// Waits for the end of a login that is running, or else of one that is started for this caller.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        self.check_caller()?;
        let limit = self.settings.login_timeout.saturating_add(self.settings.wait_timeout);
        timeout(limit, self.wait_for_login()).await.unwrap_or_else(|_| Err(self.out_of_time(limit)))
    }

    async fn wait_for_login(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        let mut status = self.status.subscribe();
        let (ended, lost) = {
            let status = status.borrow();
            if let Some(error) = status.failing_at(Instant::now()) {
                return Err(error.clone());
            }
            (status.ended, status.lost_workers)
        };
        let mut asked = false;
        loop {
            let running = {
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
                status.is_logging_in()
            };
            if !running && !asked {
                self.demand.send_modify(|demand| demand.forces += 1);
                asked = true;
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
        LoginError::timed_out(Kind::WaitTimeout(limit), self.status.borrow().last_error.as_ref())
    }

    /// Starts a worker on the caller's runtime unless there is one. A token that is still good is in the cell at once.
    fn ensure_worker(self: &Arc<Self>) -> Result<(), LoginError> {
        let now = self.now();
        let (duty, runtime) = {
            let mut shelf = self.shelf();
            match &mut *shelf {
                Shelf::Taken { parked } => {
                    if let Some(lease) = parked.take_if(|lease| !lease.is_unusable(now)) {
                        self.current.store(Some(lease));
                        self.demand.send_modify(|demand| demand.wants += 1);
                    }
                    return Ok(());
                }
                Shelf::Closed => return Err(LoginError::new(Kind::ShutDown, None)),
                Shelf::Resting(_) => {}
            }
            let runtime = runtime()?;
            let Shelf::Resting(duty) = mem::replace(&mut *shelf, Shelf::Taken { parked: None }) else {
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
        if let Shelf::Taken { parked } = &mut *self.shelf() {
            if self.demand.borrow().rejected < lease.generation {
                self.current.store(Some(lease.clone()));
                *parked = None;
            }
        }
    }

    /// Takes the token out of the cell and lays it where the next call will find it, and be noticed.
    pub(crate) fn park(&self) {
        if let Shelf::Taken { parked } = &mut *self.shelf() {
            *parked = self.current.take();
        }
    }

    /// Takes a token that may be used no more out of the cell.
    pub(crate) fn withdraw(&self, generation: u64) {
        self.remove(&mut self.shelf(), generation);
    }

    /// A token of this generation is not accepted: it is used no more. Says nothing of newer ones.
    pub(crate) fn reject(&self, generation: u64) {
        let mut shelf = self.shelf();
        self.demand.send_if_modified(|demand| {
            let news = demand.rejected < generation;
            demand.rejected = demand.rejected.max(generation);
            news
        });
        self.remove(&mut shelf, generation);
    }

    /// Rejects the token there is, wherever it lies.
    pub(crate) fn invalidate(&self) {
        let generation = {
            let shelf = self.shelf();
            let current = self.current.load();
            let lease = match &*shelf {
                _ if current.is_some() => current.as_ref(),
                Shelf::Taken { parked } => parked.as_ref(),
                Shelf::Resting(duty) => duty.ledger.lease(),
                Shelf::Closed => None,
            };
            lease.map(|lease| lease.generation)
        };
        if let Some(generation) = generation {
            self.reject(generation);
        }
    }

    fn remove(&self, shelf: &mut Shelf, generation: u64) {
        self.current.clear_up_to(generation);
        if let Shelf::Taken { parked } = shelf {
            parked.take_if(|lease| lease.generation <= generation);
        }
    }

    pub(crate) fn shut_down(&self) {
        // What is dropped is somebody else's code, so it is dropped outside the lock.
        let _resting = {
            let mut shelf = self.shelf();
            self.current.store(None);
            mem::replace(&mut *shelf, Shelf::Closed)
        };
        self.demand.send_modify(|demand| demand.shut_down = true);
        self.status.send_modify(|status| status.state = State::ShutDown);
    }
}

fn runtime() -> Result<Handle, LoginError> {
    Handle::try_current().map_err(|error| LoginError::new(Kind::NoRuntime, Some(error.into())))
}
