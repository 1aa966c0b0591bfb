//! What the handles and the worker of one identity share.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    builder::Settings,
    current::Current,
    lease::{Lease, Moment},
    status::{State, Status},
    wait,
    worker::{Duty, Worker},
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

    /// Starts a worker on the caller's runtime unless there is one. A token that is still good is in the cell at once.
    pub(super) fn ensure_worker(self: &Arc<Self>) -> Result<(), LoginError> {
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
            let runtime = wait::runtime()?;
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
        let mut shelf = self.shelf();
        match &mut *shelf {
            Shelf::Taken { parked } if self.demand.borrow().rejected < lease.generation => {
                self.current.store(Some(lease.clone()));
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
