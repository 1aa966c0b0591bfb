//! All that the crate tells `tracing`, in one place. Nothing here is given a secret.
//!
//! Without the `tracing` feature these do nothing.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use std::time::Duration;

use crate::{LoginError, LoginRequest};

macro_rules! event {
    ($level:ident, $($rest:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::event!(target: "tower_auth_refresh", tracing::Level::$level, $($rest)*)
    };
}

#[cfg(feature = "jwt")]
pub(crate) fn senseless_exp() {
    event!(WARN, "the token's `exp` is no number of seconds that makes sense: its expiry is unknown");
}

#[cfg(feature = "jwt")]
pub(crate) fn clock_disagrees(lifetime: Duration) {
    event!(
        WARN,
        ?lifetime,
        "the new token looks expired: the local clock and the issuer's disagree; going by the lifetime"
    );
}

#[cfg(feature = "http-client")]
pub(crate) fn no_trust_roots() {
    event!(WARN, "the system has no trust roots, and none were added: https will fail");
}

pub(crate) fn login_started(request: &LoginRequest) {
    event!(DEBUG, reason = ?request.reason, attempt = request.attempt, "login started");
}

pub(crate) fn login_succeeded(generation: u64, took: Duration) {
    event!(INFO, generation, ?took, "login succeeded");
}

pub(crate) fn login_failed(error: &LoginError, failures: u32, took: Duration, pause: Duration) {
    event!(WARN, error = error as &dyn std::error::Error, failures, ?took, ?pause, "login failed");
}

pub(crate) fn superseded() {
    event!(DEBUG, "the login was begun before a rejection: what it brought is not used");
}

pub(crate) fn expired(generation: u64) {
    event!(INFO, generation, "the token has expired");
}

pub(crate) fn rejected(generation: u64) {
    event!(INFO, generation, "the token is not accepted");
}

#[cfg(feature = "http-client")]
pub(crate) fn certificates_unchecked() {
    event!(
        WARN,
        "the certificates of servers are not checked: whoever sits on the way can read and change what is sent"
    );
}

pub(crate) fn rejection_ignored(generation: u64) {
    event!(
        DEBUG,
        generation,
        "the token is not accepted; it is too young, or that has been so too often, to log in for it"
    );
}
