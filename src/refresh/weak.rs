//! [`WeakAuthRefresher`]: a handle that keeps neither the refresher nor its worker alive.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
};

use super::{handle::AuthRefresher, shared::Shared};
use crate::login::LoginRequest;

/// A weak handle to an [`AuthRefresher`]. It does not keep the refresher or its worker alive.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefresher, LoginRequest};
///
/// let refresher = AuthRefresher::new(tower::service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") }));
/// let weak = refresher.downgrade();
/// assert!(weak.upgrade().is_some());
/// drop(refresher);
/// assert!(weak.upgrade().is_none());
/// ```
#[derive(Clone, Default)]
pub struct WeakAuthRefresher {
    shared: Weak<Shared>,
}

impl WeakAuthRefresher {
    /// Returns a handle, or `None` if the last handle has been dropped.
    pub fn upgrade(&self) -> Option<AuthRefresher> {
        self.shared.upgrade().map(AuthRefresher::from_shared)
    }
}

impl AuthRefresher {
    /// Creates a weak handle, which does not keep the worker alive.
    pub fn downgrade(&self) -> WeakAuthRefresher {
        WeakAuthRefresher { shared: Arc::downgrade(self.shared()) }
    }
}

impl LoginRequest {
    /// Returns a weak handle to the refresher that sent this request.
    ///
    /// To push a token that it receives by itself, a login service calls [`AuthRefresher::refresh`] from a separate
    /// task. In a request that no refresher sent, the handle cannot be upgraded.
    pub fn refresher(&self) -> WeakAuthRefresher {
        let shared = self.trigger().upgrade().and_then(|refresher| {
            let refresher: Arc<dyn Any + Send + Sync> = refresher;
            refresher.downcast::<Shared>().ok()
        });
        WeakAuthRefresher { shared: shared.as_ref().map_or_else(Weak::new, Arc::downgrade) }
    }
}

impl fmt::Debug for WeakAuthRefresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakAuthRefresher").finish_non_exhaustive()
    }
}
