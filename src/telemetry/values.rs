//! Values that the state derives and the telemetry records.

use std::time::SystemTime;

/// The value of the expiry gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ExpiryGauge {
    /// No worker refreshes a token.
    Unset,
    NoToken,
    NoExpiry,
    At(SystemTime),
}

/// What happens to a key of a handle.
#[cfg(feature = "keyed")]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "only the metrics read it"))]
pub(crate) enum KeyEvent {
    /// The key has a refresher now.
    Created,
    Evicted,
    Forgotten,
    /// The limit on new keys was reached.
    Refused,
}

/// What a rejection of a token causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RejectionEffect {
    /// The token is no longer used. A login follows.
    TriggeredLogin,
    /// A newer token exists, or a login for it is due.
    AlreadyReplaced,
    /// Nothing: the token was issued just now.
    TokenTooNew,
    /// Nothing: too many rejections have counted.
    RateLimited,
}
