//! What the handles and the worker of one identity share.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::HeaderValue;
use tokio::sync::watch;

use super::{
    builder::Settings,
    current::Current,
    lease::{Lease, Moment},
    mark::Mark,
    rejections::{RejectionLimit, Rejections},
    status::{State, Status},
    wait,
    worker::{Duty, Worker},
};
use crate::{LoginError, events::Rejection, login::Kind};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) current: Current,
    pub(crate) settings: Settings,
    pub(crate) status: watch::Sender<Status>,
    /// What the handles want. The worker sees it close when the last handle is dropped.
    pub(crate) demand: watch::Sender<Demand>,
    shelf: Mutex<Shelf>,
    rejections: Mutex<Rejections>,
}

/// What handles have asked for so far. Counters, so that nothing asked for can be missed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    /// Calls that came and found no token.
    pub(crate) wants: u64,
    /// Refreshes asked for by hand.
    pub(crate) forces: u64,
    /// The newest generation that has been rejected.
    pub(crate) rejected: u64,
    /// What the server said of it (`WWW-Authenticate`).
    pub(crate) challenge: Option<HeaderValue>,
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

impl Shared {
    pub(crate) fn new(duty: Duty, settings: Settings) -> Arc<Self> {
        Arc::new_cyclic(|shared| Self {
            current: Current::new(shared.clone()),
            settings,
            status: watch::Sender::new(Status::new()),
            demand: watch::Sender::new(Demand::default()),
            shelf: Mutex::new(Shelf::Resting(Box::new(duty))),
            rejections: Mutex::default(),
        })
    }

    /// Nothing panics under this lock, so a poisoned one is as good as any.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::now(&*self.settings.clock)
    }

    /// Starts a worker on the caller's runtime unless there is one. A token that is still good is in the cell at once.
    pub(super) fn ensure_worker(self: &Arc<Self>) -> Result<(), LoginError> {
        let now = self.now();
        let (duty, runtime) = {
            let mut shelf = self.shelf();
            match &mut *shelf {
                Shelf::Taken { parked } => {
                    self.unpark(parked, now);
                    return Ok(());
                }
                Shelf::Closed => return Err(LoginError::new(Kind::ShutDown, None)),
                Shelf::Resting(_) => {}
            }
            let runtime = wait::runtime()?;
            let Shelf::Resting(duty) = mem::replace(&mut *shelf, Shelf::Taken { parked: None }) else {
                return Ok(());
            };
            let usable = duty.ledger.usable(now, &self.demand.borrow()).cloned();
            if let Some(lease) = usable {
                self.found(lease);
            }
            (duty, runtime)
        };
        // Outside the lock: a runtime that is ending drops the worker here and now, which puts the duty back.
        runtime.spawn(Worker::new(self, duty).run());
        Ok(())
    }

    /// The token there is, if a worker watches it.
    pub(super) fn usable(&self) -> Option<Arc<Lease>> {
        if let Some(lease) = &*self.current.load() {
            return Some(lease.clone());
        }
        let now = self.now();
        if let Shelf::Taken { parked } = &mut *self.shelf() {
            self.unpark(parked, now);
        }
        self.current.load().clone()
    }

    fn unpark(&self, parked: &mut Option<Arc<Lease>>, now: Moment) {
        if let Some(lease) = parked.take_if(|lease| !lease.is_unusable(now)) {
            self.found(lease);
        }
    }

    /// A call has found a token beside the cell: it is a use, and the next calls will find it in the cell.
    fn found(&self, lease: Arc<Lease>) {
        self.current.store(lease);
        self.demand.send_modify(|demand| demand.wants += 1);
    }

    /// The worker's runtime has ended: the next caller starts another from where this one was.
    pub(crate) fn put_back(&self, duty: Box<Duty>) {
        let mut shelf = self.shelf();
        if matches!(*shelf, Shelf::Closed) {
            // The login service is somebody else's code, so it is dropped outside the lock.
            drop(shelf);
            return;
        }
        // Nobody watches the token's end now, so it may not stay where requests would take it.
        self.current.take();
        *shelf = Shelf::Resting(duty);
        self.status.send_modify(|status| {
            status.state = State::Idle;
            status.lost_workers += 1;
        });
    }

    /// Puts a token in the cell, unless it has been rejected meanwhile.
    pub(crate) fn publish(&self, lease: &Arc<Lease>) {
        let mut shelf = self.shelf();
        match &mut *shelf {
            Shelf::Taken { parked } if self.demand.borrow().rejected < lease.generation => {
                self.current.store(lease.clone());
                *parked = None;
            }
            _ => {}
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

    /// A server has rejected the token of this mark. Says whether there is a newer one, or will be.
    pub(crate) fn reject(&self, rejected: Mark, challenge: Option<HeaderValue>) -> bool {
        let (generation, effect) = self.take_rejection(rejected, challenge);
        self.settings.events.rejection(generation, effect);
        effect != Rejection::Ignored
    }

    fn take_rejection(&self, rejected: Mark, challenge: Option<HeaderValue>) -> (Option<u64>, Rejection) {
        let now = self.now();
        let mut shelf = self.shelf();
        let Some(lease) = self.lying(&shelf) else { return (None, Rejection::Newer) };
        let generation = lease.generation;
        if self.current.mark_of(generation) != rejected {
            return (Some(generation), Rejection::Newer);
        }
        let counts = {
            let mut rejections = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
            let settings = self.settings.rejections;
            let limit = RejectionLimit { min_age: lease.min_rejection_age(settings.min_age), ..settings };
            rejections.allow(&limit, lease.time_in_use(now), now.monotonic)
        };
        if counts {
            self.drop_token(&mut shelf, generation, challenge);
        }
        (Some(generation), if counts { Rejection::Login } else { Rejection::Ignored })
    }

    /// Rejects the token there is.
    pub(crate) fn invalidate(&self) {
        let mut shelf = self.shelf();
        if let Some(generation) = self.lying(&shelf).map(|lease| lease.generation) {
            self.drop_token(&mut shelf, generation, None);
        }
    }

    /// The token there is, wherever it lies.
    fn lying(&self, shelf: &Shelf) -> Option<Arc<Lease>> {
        let lease = match (&*self.current.load(), shelf) {
            (Some(lease), _) => lease.clone(),
            (None, Shelf::Taken { parked }) => parked.clone()?,
            (None, Shelf::Resting(duty)) => duty.ledger.lease()?.clone(),
            (None, Shelf::Closed) => return None,
        };
        (lease.generation > self.demand.borrow().rejected).then_some(lease)
    }

    fn drop_token(&self, shelf: &mut Shelf, generation: u64, challenge: Option<HeaderValue>) {
        self.demand.send_modify(|demand| {
            demand.rejected = demand.rejected.max(generation);
            demand.challenge = challenge;
        });
        self.remove(shelf, generation);
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
            self.current.take();
            self.demand.send_modify(|demand| demand.shut_down = true);
            self.status.send_modify(|status| status.state = State::ShutDown);
            mem::replace(&mut *shelf, Shelf::Closed)
        };
    }
}
