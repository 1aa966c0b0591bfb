//! The cell: the token in use, or none. It holds tokens only; a failure never displaces one.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwapOption, Guard};

use super::{
    lease::Lease,
    mark::{Mark, Registration},
    shared::Shared,
};

/// Read by every request, without a lock. Written under the shelf's lock only, so that writers cannot cross.
///
/// On cache lines of its own: what lies beside it is written to, be it the count of the handles.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Current {
    cell: ArcSwapOption<Lease>,
    /// The mark of what is in the cell, or zero: whoever holds on to a token sees by one look whether it is in use still.
    ///
    /// Always changed before the cell: once the new token has been seen there, nobody holds on to the old one.
    mark: AtomicU64,
    registration: Registration,
}

impl Current {
    pub(crate) fn new(shared: Weak<Shared>) -> Self {
        let registration = Registration::new(shared);
        Self { cell: ArcSwapOption::empty(), mark: AtomicU64::new(0), registration }
    }

    /// The token in use. Do not keep the guard across an await: there are few of them, and others pay for it.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Option<Arc<Lease>>> {
        self.cell.load()
    }

    /// Whether the token of this mark is in use still.
    #[inline]
    pub(crate) fn is(&self, mark: Mark) -> bool {
        self.mark.load(Ordering::Acquire) == mark.get()
    }

    #[inline]
    pub(crate) fn mark_of(&self, generation: u64) -> Mark {
        self.registration.mark(generation)
    }

    pub(crate) fn store(&self, lease: Arc<Lease>) {
        let mark = self.mark_of(lease.generation);
        self.mark.store(mark.get(), Ordering::Release);
        self.cell.store(Some(lease));
    }

    pub(crate) fn take(&self) -> Option<Arc<Lease>> {
        self.mark.store(0, Ordering::Release);
        self.cell.swap(None)
    }

    /// Takes the token away if it is of this generation or older.
    pub(crate) fn clear_up_to(&self, generation: u64) {
        if self.load().as_ref().is_some_and(|lease| lease.generation <= generation) {
            self.take();
        }
    }
}
