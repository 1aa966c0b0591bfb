//! The cell: the token in use, or none. It holds tokens only; a failure never displaces one.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use super::lease::Lease;

/// Read by every request, without a lock. Written under the shelf's lock only, so that writers cannot cross.
#[derive(Debug, Default)]
pub(crate) struct Current(ArcSwapOption<Lease>);

impl Current {
    /// The token in use. Do not keep the guard across an await: there are few of them, and others pay for it.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Option<Arc<Lease>>> {
        self.0.load()
    }

    pub(crate) fn store(&self, lease: Option<Arc<Lease>>) {
        self.0.store(lease);
    }

    pub(crate) fn take(&self) -> Option<Arc<Lease>> {
        self.0.swap(None)
    }

    /// Takes the token away if it is of this generation or older.
    pub(crate) fn clear_up_to(&self, generation: u64) {
        if self.load().as_ref().is_some_and(|lease| lease.generation <= generation) {
            self.store(None);
        }
    }
}
