//! [`WeakAuthRefresher`]: a handle that does not count.

use std::{fmt, sync::Weak};

use super::{AuthRefresher, shared::Shared};

/// A handle to an [`AuthRefresher`] that keeps neither it nor its worker.
#[derive(Clone, Default)]
pub struct WeakAuthRefresher {
    shared: Weak<Shared>,
}

impl WeakAuthRefresher {
    pub(super) fn new(shared: Weak<Shared>) -> Self {
        Self { shared }
    }

    /// A handle that counts; `None` if the last one is gone, or there never was one.
    pub fn upgrade(&self) -> Option<AuthRefresher> {
        self.shared.upgrade().map(|shared| AuthRefresher { shared })
    }
}

/// For whoever watches a token's source.
#[cfg(feature = "token-file")]
impl WeakAuthRefresher {
    /// Has the token refreshed soon, and does not wait for it.
    pub(crate) fn renew(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.demand.send_modify(|demand| demand.forces += 1);
        }
    }

    /// Whether the last login failed, and another may do better.
    pub(crate) fn is_failing(&self) -> bool {
        self.shared.upgrade().is_some_and(|shared| {
            let last_error = &shared.status.borrow().last_error;
            last_error.as_ref().is_some_and(|error| !error.is_permanent())
        })
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.shared.ptr_eq(&other.shared)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.shared.strong_count() == 0
    }
}

impl fmt::Debug for WeakAuthRefresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakAuthRefresher").finish_non_exhaustive()
    }
}
