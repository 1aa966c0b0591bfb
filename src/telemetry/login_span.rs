//! [`LoginSpan`]: one login from its start to its end.
#![cfg_attr(not(any(feature = "tracing", feature = "metrics")), allow(dead_code))]

use std::{future::Future, time::Duration};

use tokio::time::Instant;

use super::Telemetry;
#[cfg(feature = "tracing")]
use crate::login::LoginReason;
use crate::login::{LoginError, LoginRequest};

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
            span: crate::panic::catch(|| {
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
    /// Runs the login in its span.
    pub(crate) fn instrument<F: Future>(&self, login: F) -> impl Future<Output = F::Output> + use<F> {
        #[cfg(feature = "tracing")]
        let login = tracing::Instrument::instrument(login, self.span.clone());
        login
    }

    fn in_scope(&self, record: impl FnOnce()) {
        crate::panic::catch(|| {
            #[cfg(feature = "tracing")]
            let _entered = self.span.enter();
            record();
        });
    }

    pub(crate) fn succeeded(&mut self, generation: u64, elapsed: Duration) {
        self.in_scope(|| {
            event!(INFO, generation, ?elapsed, refresher = self.telemetry.name(), "login succeeded");
        });
        self.end("success", elapsed);
    }

    pub(crate) fn failed(&mut self, error: &LoginError, failures: u32, elapsed: Duration, retry_in: Duration) {
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
        self.end(if error.is_permanent() { "failure_permanent" } else { "failure_transient" }, elapsed);
    }

    /// Records a login whose result is discarded.
    pub(crate) fn discarded(&mut self, elapsed: Duration) {
        self.in_scope(|| {
            event!(DEBUG, ?elapsed, refresher = self.telemetry.name(), "login discarded");
        });
        self.end("discarded", elapsed);
    }

    fn end(&mut self, outcome: &'static str, elapsed: Duration) {
        self.ended = true;
        #[cfg(feature = "tracing")]
        crate::panic::catch(|| self.span.record("outcome", outcome));
        metric!(login_ended(self.telemetry.label(), outcome, elapsed.as_secs_f64()));
    }
}

impl Drop for LoginSpan {
    fn drop(&mut self) {
        if !self.ended {
            self.end("abandoned", self.started_at.elapsed());
        }
        #[cfg(feature = "tracing")]
        crate::panic::catch(|| drop(std::mem::replace(&mut self.span, tracing::Span::none())));
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
