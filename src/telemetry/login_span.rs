//! [`LoginSpan`]: one login from its start to its end.
#![cfg_attr(not(any(feature = "tracing", feature = "metrics")), allow(dead_code))]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::Telemetry;
#[cfg(feature = "tracing")]
use crate::{login::LoginReason, panic::CatchDrop};
use crate::{
    login::{LoginError, LoginRequest},
    panic,
};

/// Records one login. A span that is dropped before its end records the login as abandoned.
pub(crate) struct LoginSpan {
    telemetry: Telemetry,
    started_at: Instant,
    ended: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Telemetry {
    pub(crate) fn login_started(&self, request: &LoginRequest, started_at: Instant) -> LoginSpan {
        let span = LoginSpan {
            telemetry: self.clone(),
            started_at,
            ended: false,
            #[cfg(feature = "tracing")]
            span: panic::catch(|| {
                tracing::info_span!(
                    target: "tower_auth_refresh",
                    parent: None,
                    "login",
                    reason = reason(&request.reason),
                    attempt = request.attempt,
                    refresher = self.name(),
                    outcome = tracing::field::Empty,
                )
            })
            .unwrap_or_else(tracing::Span::none),
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
}

impl LoginSpan {
    /// Runs the login in its span. The login must not panic; the subscriber and the login's drop can.
    pub(crate) fn instrument<F: Future>(&self, login: F) -> InSpan<F> {
        InSpan {
            login: Some(Box::pin(login)),
            #[cfg(feature = "tracing")]
            span: CatchDrop::new(Some(self.span.clone())),
        }
    }

    fn in_scope(&self, record: impl FnOnce()) {
        #[cfg(feature = "tracing")]
        let _entered = Entered::new(&self.span);
        panic::catch(record);
    }

    pub(crate) fn succeeded(&mut self, generation: u64, elapsed: Duration) {
        self.in_scope(|| {
            event!(
                INFO,
                generation,
                ?elapsed,
                refresher = self.telemetry.name(),
                "login succeeded"
            );
        });
        self.end("success", elapsed);
    }

    pub(crate) fn failed(
        &mut self,
        error: &LoginError,
        failures: u32,
        elapsed: Duration,
        retry_in: Duration,
    ) {
        self.in_scope(|| {
            event!(
                WARN,
                error = error as &dyn std::error::Error,
                failures,
                ?elapsed,
                ?retry_in,
                refresher = self.telemetry.name(),
                "login failed"
            );
        });
        self.end(
            if error.is_permanent() { "failure_permanent" } else { "failure_transient" },
            elapsed,
        );
    }

    /// Records a login whose result is discarded.
    pub(crate) fn discarded(&mut self, error: Option<&LoginError>, elapsed: Duration) {
        self.in_scope(|| {
            event!(
                DEBUG,
                error = error.map(|error| error as &dyn std::error::Error),
                ?elapsed,
                refresher = self.telemetry.name(),
                "login discarded"
            );
        });
        self.end("discarded", elapsed);
    }

    fn end(&mut self, outcome: &'static str, elapsed: Duration) {
        self.ended = true;
        #[cfg(feature = "tracing")]
        panic::catch(|| self.span.record("outcome", outcome));
        metric!(login_ended(self.telemetry.label(), outcome, elapsed.as_secs_f64()));
    }
}

impl Drop for LoginSpan {
    fn drop(&mut self) {
        if !self.ended {
            self.end("abandoned", self.started_at.elapsed());
        }
        #[cfg(feature = "tracing")]
        panic::catch(|| drop(std::mem::replace(&mut self.span, tracing::Span::none())));
    }
}

/// A login that runs, and is dropped, in its span.
///
/// Like `tracing::Instrumented`, but a subscriber that panics neither stops the login nor aborts the process. Each call
/// of user code has its own `catch`, because a second panic during unwinding aborts.
pub(crate) struct InSpan<F> {
    login: Option<Pin<Box<F>>>,
    #[cfg(feature = "tracing")]
    span: CatchDrop<Option<tracing::Span>>,
}

impl<F> InSpan<F> {
    /// Enters the span, and returns the login.
    fn enter(&mut self) -> (Option<Entered<'_>>, &mut Option<Pin<Box<F>>>) {
        #[cfg(feature = "tracing")]
        let entered = self.span.as_ref().map(Entered::new);
        #[cfg(not(feature = "tracing"))]
        let entered = None;
        (entered, &mut self.login)
    }
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (_entered, login) = self.enter();
        match login.as_mut() {
            Some(login) => login.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for InSpan<F> {
    fn drop(&mut self) {
        let (_entered, login) = self.enter();
        panic::catch(|| drop(login.take()));
    }
}

/// A span that is entered until this is dropped. A panic of the subscriber is caught.
struct Entered<'a>(
    #[cfg(feature = "tracing")] Option<tracing::span::Entered<'a>>,
    #[cfg(not(feature = "tracing"))] std::marker::PhantomData<&'a ()>,
);

#[cfg(feature = "tracing")]
impl<'a> Entered<'a> {
    fn new(span: &'a tracing::Span) -> Self {
        Self(panic::catch(|| span.enter()))
    }
}

#[cfg(feature = "tracing")]
impl Drop for Entered<'_> {
    fn drop(&mut self) {
        panic::catch(|| drop(self.0.take()));
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
