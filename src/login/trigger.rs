//! [`RefreshTrigger`]: how a login service requests a refresh, without the refresher's type.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
};

#[cfg(any(feature = "shared", feature = "token-file"))]
use crate::panic;
#[cfg(feature = "shared")]
use {crate::token::AccessToken, std::time::Duration};

/// The refresher, as a login service sees it.
#[cfg_attr(
    not(feature = "token-file"),
    allow(dead_code, reason = "only that source reports by itself")
)]
pub(crate) trait Refreshable: Any + Send + Sync {
    /// Requests a refresh, and does not wait for it.
    fn request_refresh(&self);

    /// Returns whether the last login failed and a retry can help.
    fn has_transient_failure(&self) -> bool;

    /// Returns how long until the current token expires: [`Duration::MAX`] if it does not, and `None` if requests have no
    /// token.
    #[cfg(feature = "shared")]
    fn token_remaining(&self) -> Option<Duration>;

    /// Returns whether this is the token that was rejected last, and no login has replaced it.
    #[cfg(feature = "shared")]
    fn was_rejected(&self, token: &AccessToken) -> bool;

    /// Reports that the token's source no longer reports the next token by itself. From then on, the schedule applies.
    fn source_stopped_reporting(&self);
}

/// A weak reference to the refresher that sent a [`LoginRequest`](super::LoginRequest). Empty in a request that no
/// refresher sent.
#[derive(Clone, Default)]
pub(crate) struct RefreshTrigger(Option<Weak<dyn Refreshable>>);

impl RefreshTrigger {
    pub(crate) fn new(refresher: Weak<dyn Refreshable>) -> Self {
        Self(Some(refresher))
    }

    pub(crate) fn upgrade(&self) -> Option<Arc<dyn Refreshable>> {
        self.0.as_ref().and_then(Weak::upgrade)
    }
}

#[cfg(feature = "shared")]
impl RefreshTrigger {
    /// Returns whether requests wait for a token.
    pub(crate) fn lacks_token(&self) -> bool {
        self.token_remaining() == Some(None)
    }

    /// Returns the same as [`Refreshable::token_remaining`], or `None` if there is no refresher.
    pub(crate) fn token_remaining(&self) -> Option<Option<Duration>> {
        panic::catch(|| self.upgrade().map(|refresher| refresher.token_remaining())).flatten()
    }

    /// Returns whether the refresher does not accept this token, because it was rejected.
    pub(crate) fn was_rejected(&self, token: &AccessToken) -> bool {
        panic::catch(|| self.upgrade().is_some_and(|refresher| refresher.was_rejected(token)))
            .unwrap_or(false)
    }
}

#[cfg(feature = "token-file")]
impl RefreshTrigger {
    pub(crate) fn request_refresh(&self) {
        // The upgraded reference can be the last, and its drop runs user code.
        panic::catch(|| self.upgrade().map(|refresher| refresher.request_refresh()));
    }

    pub(crate) fn has_transient_failure(&self) -> bool {
        panic::catch(|| self.upgrade().is_some_and(|refresher| refresher.has_transient_failure()))
            .unwrap_or(false)
    }

    pub(crate) fn source_stopped_reporting(&self) {
        panic::catch(|| self.upgrade().map(|refresher| refresher.source_stopped_reporting()));
    }

    /// Returns whether the last handle of the refresher has been dropped, or there was none.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.as_ref().is_none_or(|refresher| refresher.strong_count() == 0)
    }

    /// Returns the refresher's address. No other refresher has it while this reference exists.
    pub(crate) fn addr(&self) -> Option<usize> {
        self.0.as_ref().map(|refresher| refresher.as_ptr().cast::<()>().addr())
    }
}

impl fmt::Debug for RefreshTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTrigger").finish_non_exhaustive()
    }
}
