//! [`ActiveWorker`]: which task works for the refresher, and whether it is late.

use std::time::Duration;

use tokio::{
    runtime::{self, Handle, RuntimeFlavor},
    time::Instant,
};

/// The delay after which a call on another runtime replaces the worker.
const MAX_DELAY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerId(pub(super) u64);

/// A runtime, as the state knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runtime {
    pub(crate) id: runtime::Id,
    /// The runtime makes progress only inside `block_on`. It can stand still, so a worker there can miss the expiry.
    pub(crate) can_stand_still: bool,
}

impl Runtime {
    pub(crate) fn from_handle(handle: &Handle) -> Self {
        let can_stand_still = handle.runtime_flavor() != RuntimeFlavor::MultiThread;
        Self { id: handle.id(), can_stand_still }
    }
}

#[derive(Debug)]
pub(crate) struct ActiveWorker {
    pub(crate) id: WorkerId,
    pub(crate) runtime: Runtime,
    /// When the worker must poll the state next; `None`: only when it is woken.
    pub(crate) due: Option<Instant>,
}

impl ActiveWorker {
    /// Expects the worker to poll the state now.
    pub(crate) fn expect_now(&mut self, now: Instant) {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }

    /// Returns when the worker counts as late.
    pub(crate) fn late_at(&self) -> Option<Instant> {
        self.due?.checked_add(MAX_DELAY)
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.late_at().is_some_and(|late_at| late_at <= now)
    }
}
