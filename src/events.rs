//! All that the crate tells `tracing`, in one place. Nothing here is given a secret.
//!
//! Without the `tracing` feature these do nothing.

#[cfg(feature = "jwt")]
use std::time::Duration;

macro_rules! event {
    ($level:ident, $($rest:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::event!(target: "tower_auth_refresh", tracing::Level::$level, $($rest)*)
    };
}

#[cfg(feature = "jwt")]
pub(crate) fn senseless_exp() {
    event!(
        WARN,
        "the token's `exp` is no number of seconds that makes sense: its expiry is unknown"
    );
}

#[cfg(feature = "jwt")]
pub(crate) fn clock_disagrees(lifetime: Duration) {
    let _ = lifetime;
    event!(
        WARN,
        ?lifetime,
        "the new token looks expired: the local clock and the issuer's disagree; going by the lifetime"
    );
}

#[cfg(feature = "http-client")]
pub(crate) fn certificates_unchecked() {
    event!(
        WARN,
        "the certificates of servers are not checked: whoever sits on the way can read and change what is sent"
    );
}
