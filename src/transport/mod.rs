//! One request and its answer over any [`HttpService`], within limits: what the ready-made logins have in common. Knows
//! nothing of what is asked.
//!
//! In reading order: `http_service` (what is asked of the service beneath), the exchange below, `broken` (why there was no
//! answer, told from `fault` and `cause`), `redact` (what may be shown of an answer), `server_time` (what its headers say
//! about time).

mod error;
mod error_kind;
mod future;
mod http_service;
mod redact;
mod redacted_error;
mod server_time;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, response::Parts};
use http_body_util::Full;

pub(crate) use self::{
    error::TransportError,
    redact::redact,
    server_time::{date, retry_after},
};
pub use self::{future::TransportFuture, http_service::HttpService};
use crate::{BoxError, Clock, SystemClock};

const TIMEOUT: Duration = Duration::from_secs(30);
const BODY_LIMIT: usize = 1 << 20;

pub(crate) const USER_AGENT_VALUE: &str = concat!("tower-auth-refresh/", env!("CARGO_PKG_VERSION"));
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How an exchange is made.
#[derive(Clone)]
pub(crate) struct Transport<S> {
    http: S,
    pub(crate) timeout: Duration,
    pub(crate) body_limit: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

/// An answer of any status.
pub(crate) struct RawResponse {
    pub(crate) head: Parts,
    /// The head counts even where the body did not come whole or in time.
    pub(crate) body: Result<Bytes, TransportError>,
    /// The local time at which it came.
    pub(crate) now: SystemTime,
}

impl<S> Transport<S> {
    pub(crate) fn new(http: S) -> Self {
        Self { http, timeout: TIMEOUT, body_limit: BODY_LIMIT, clock: Arc::new(SystemClock) }
    }
}

impl<S: HttpService> Transport<S> {
    /// No error shows one of the `secrets` that are sent.
    pub(crate) async fn send(
        self,
        request: Result<Request<Full<Bytes>>, impl Into<BoxError>>,
        secrets: &[&str],
    ) -> Result<RawResponse, TransportError> {
        let Self { http, timeout, body_limit, clock } = self;
        let broken = |error: BoxError| TransportError::of(error, secrets, timeout, body_limit);
        let request = request.map_err(|error| broken(error.into()))?;
        let (head, body) = http.send(request, body_limit, timeout).await.map_err(broken)?.into_parts();
        Ok(RawResponse { head, body: body.map_err(broken), now: clock.now() })
    }
}

impl<S> fmt::Debug for Transport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("timeout", &self.timeout)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}
