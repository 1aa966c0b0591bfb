//! All that the crate tells `tracing` and `metrics`, in one place. Nothing here is given a secret.
//!
//! Without these features nothing is told, and nothing is done for it.
#![cfg_attr(not(all(feature = "tracing", feature = "metrics")), allow(unused_variables))]

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

#[cfg(feature = "tracing")]
use crate::LoginReason;
use crate::{LoginError, LoginRequest, UnsafeDestination};

#[cfg(feature = "metrics")]
mod measures;

macro_rules! event {
    ($level:ident, $($rest:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::event!(target: "tower_auth_refresh", tracing::Level::$level, $($rest)*)
    };
}

macro_rules! measure {
    ($($rest:tt)*) => {
        #[cfg(feature = "metrics")]
        measures::$($rest)*
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

#[cfg(feature = "http-client")]
pub(crate) fn certificates_unchecked() {
    event!(
        WARN,
        "the certificates of servers are not checked: whoever sits on the way can read and change what is sent"
    );
}

/// What one refresher tells, under its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    name: Option<Arc<str>>,
}

/// What becomes of the response that rejected a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The token is used no more, and a login follows.
    Login,
    /// There is a newer token already, or a login for it.
    Newer,
    /// Nothing: the token is too young, or that has been so too often.
    Ignored,
}

impl Events {
    pub(crate) fn named(name: Arc<str>) -> Self {
        Self { name: Some(name) }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    #[cfg(feature = "metrics")]
    fn label(&self) -> Arc<str> {
        self.name.clone().unwrap_or_else(|| "default".into())
    }

    /// A worker starts, with a token perhaps: when that ends, if so and if it is known.
    pub(crate) fn worker_started(&self, token: Option<Option<SystemTime>>) {
        measure!(describe());
        measure!(register(&self.label()));
        if let Some(end) = token {
            self.token_in_use(end);
        }
    }

    /// A worker ends: the last handle is gone, or its runtime.
    pub(crate) fn worker_ended(&self) {
        measure!(token_unwatched(self.label()));
    }

    pub(crate) fn token_in_use(&self, end: Option<SystemTime>) {
        measure!(token_ends(self.label(), end));
    }

    /// There is no token, and for want of requests nobody fetches one.
    pub(crate) fn idle_without_token(&self) {
        measure!(token_unwatched(self.label()));
    }

    pub(crate) fn login_started(&self, request: &LoginRequest, has_token: bool, sent: Instant) -> LoginSpan {
        if !has_token {
            measure!(no_token(self.label()));
        }
        let span = LoginSpan {
            events: self.clone(),
            sent,
            ended: false,
            #[cfg(feature = "tracing")]
            span: tracing::info_span!(
                target: "tower_auth_refresh",
                parent: None,
                "login",
                reason = reason(&request.reason),
                attempt = request.attempt,
                refresher = self.name(),
                outcome = tracing::field::Empty,
            ),
        };
        span.in_scope(|| {
            event!(
                DEBUG,
                reason = ?request.reason,
                attempt = request.attempt,
                refresher = self.name(),
                "login started"
            );
        });
        span
    }

    pub(crate) fn expired(&self, generation: u64) {
        event!(INFO, generation, refresher = self.name(), "the token has expired");
    }

    /// The worker lets go of a token that was rejected, or invalidated.
    pub(crate) fn rejected(&self, generation: u64) {
        event!(INFO, generation, refresher = self.name(), "the token is not accepted");
        measure!(no_token(self.label()));
    }

    /// A response has rejected a token.
    pub(crate) fn rejection(&self, generation: Option<u64>, effect: Rejection) {
        if effect == Rejection::Ignored {
            event!(
                DEBUG,
                generation,
                refresher = self.name(),
                "the token is not accepted; it is too young, or that has been so too often, to log in for it"
            );
        }
        measure!(rejection(
            self.label(),
            match effect {
                Rejection::Login => "login",
                Rejection::Newer => "newer_token",
                Rejection::Ignored => "ignored",
            }
        ));
    }

    /// A request is sent once more.
    pub(crate) fn replayed(&self) {
        measure!(replay(self.label()));
    }

    /// The token may not go where a request goes.
    pub(crate) fn refused(&self, why: UnsafeDestination) {
        measure!(refused(
            self.label(),
            match why {
                UnsafeDestination::PlainText => "plain_text",
                UnsafeDestination::Unknown => "unknown_destination",
                UnsafeDestination::Foreign => "foreign_origin",
            }
        ));
    }

    /// A request was not sent, since there is no token.
    pub(crate) fn without_token(&self, error: &LoginError) {
        measure!(refused(
            self.label(),
            match error {
                error if error.is_shut_down() => "shut_down",
                error if error.is_timeout() => "timeout",
                _ => "login_failed",
            }
        ));
    }

    /// A call waits for a token, until what this returns is dropped.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            #[cfg(feature = "metrics")]
            _waiting: measures::Waiting::new(self.label()),
        }
    }
}

/// A call that waits for a token.
pub(crate) struct Waiting {
    #[cfg(feature = "metrics")]
    _waiting: measures::Waiting,
}

/// A login from its start to its end. One that is dropped has been abandoned.
#[cfg_attr(not(any(feature = "tracing", feature = "metrics")), allow(dead_code))]
pub(crate) struct LoginSpan {
    events: Events,
    sent: Instant,
    ended: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl LoginSpan {
    /// Does the login's work in its span.
    pub(crate) fn instrument<F: Future>(&self, login: F) -> impl Future<Output = F::Output> + use<F> {
        #[cfg(feature = "tracing")]
        let login = tracing::Instrument::instrument(login, self.span.clone());
        login
    }

    fn in_scope(&self, tell: impl FnOnce()) {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        tell();
    }

    pub(crate) fn succeeded(&mut self, generation: u64, took: Duration) {
        self.in_scope(|| {
            event!(INFO, generation, ?took, refresher = self.events.name(), "login succeeded");
        });
        self.end("success", took);
    }

    pub(crate) fn failed(&mut self, error: &LoginError, failures: u32, took: Duration, pause: Duration) {
        self.in_scope(|| {
            event!(
                WARN,
                error = error as &dyn std::error::Error,
                failures,
                ?took,
                ?pause,
                refresher = self.events.name(),
                "login failed"
            );
        });
        self.end(if error.is_permanent() { "failure_permanent" } else { "failure_transient" }, took);
    }

    /// The login was begun before a rejection: what it brought is not used.
    pub(crate) fn superseded(&mut self) {
        self.in_scope(|| {
            event!(
                DEBUG,
                refresher = self.events.name(),
                "the login was begun before a rejection: what it brought is not used"
            );
        });
        self.end("superseded", self.sent.elapsed());
    }

    fn end(&mut self, outcome: &'static str, took: Duration) {
        self.ended = true;
        #[cfg(feature = "tracing")]
        self.span.record("outcome", outcome);
        measure!(login_ended(self.events.label(), outcome, took.as_secs_f64()));
    }
}

impl Drop for LoginSpan {
    fn drop(&mut self) {
        if !self.ended {
            self.end("abandoned", self.sent.elapsed());
        }
    }
}

#[cfg(feature = "tracing")]
fn reason(reason: &LoginReason) -> &'static str {
    match reason {
        LoginReason::First => "first",
        LoginReason::Expiring => "expiring",
        LoginReason::Rejected { .. } => "rejected",
        LoginReason::Forced => "forced",
    }
}
