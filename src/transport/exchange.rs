//! [`Transport`]: sends one request and reads the response, within the limits.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, USER_AGENT},
    response::Parts,
};
use http_body_util::Full;

use super::{
    config::TransportConfig,
    error::{ErrorContext, TransportError},
    http_service::HttpService,
    redact::redact,
    redirect::Redirect,
    server_time::retry_after,
};
use crate::{BoxError, Clock};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("tower-auth-refresh/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An HTTP service and the settings of each request.
#[derive(Clone)]
pub(crate) struct Transport<S> {
    http: S,
    pub(crate) config: TransportConfig,
    default_timeout: Duration,
}

/// A response of any status except a redirect.
pub(crate) struct Received {
    pub(crate) head: Parts,
    /// The head is valid even if the body failed.
    pub(crate) body: Result<Bytes, TransportError>,
    /// The local time of arrival.
    pub(crate) now: SystemTime,
}

impl Received {
    /// Returns the delay that the server requests.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.head.headers, self.now)
    }

    /// Describes an error response: the start of its body, or why the body could not be read.
    pub(crate) fn description(&self, secrets: &[&str]) -> String {
        match &self.body {
            Ok(body) => redact(body, secrets),
            Err(error) => error.to_string(),
        }
    }
}

impl<S> Transport<S> {
    pub(crate) fn new(http: S, default_timeout: Duration) -> Self {
        Self { http, config: TransportConfig::new(), default_timeout }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.config.timeout.unwrap_or(self.default_timeout)
    }

    /// Returns the local wall clock.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.config.clock
    }
}

impl<S: HttpService> Transport<S> {
    /// Sends a request for JSON, on a connection that serves no other request. A redirect is an error.
    ///
    /// No error shows one of the `secrets`.
    pub(crate) async fn send(
        self,
        request: Result<Request<Full<Bytes>>, impl Into<BoxError>>,
        secrets: &[&str],
    ) -> Result<Received, TransportError> {
        let timeout = self.timeout();
        let Self { http, config: TransportConfig { body_limit, clock, .. }, .. } = self;
        let (mut uri, mut method) = (http::Uri::default(), Method::default());
        let request = request.map_err(Into::into).map(|mut request| {
            (uri, method) = (request.uri().clone(), request.method().clone());
            let headers = request.headers_mut();
            headers.insert(ACCEPT, JSON);
            // Without this header, a server may choose any coding (RFC 9110, section 12.5.3).
            headers.insert(ACCEPT_ENCODING, IDENTITY);
            headers.insert(USER_AGENT, USER_AGENT_VALUE);
            #[cfg(feature = "http-client")]
            request.extensions_mut().insert(crate::http_client::NewConnection);
            request
        });
        let context = ErrorContext { uri: &uri, secrets, timeout, body_limit };
        let failed = |error: BoxError| TransportError::new(error, &context);
        let response =
            http.send(request.map_err(failed)?, body_limit, timeout).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let now = clock.now();
        if let Some(redirect) = Redirect::of_response(&head, &method, &uri, secrets, now) {
            return Err(TransportError::redirect(redirect));
        }
        let body = body.map_err(failed).and_then(|body| decoded(&head, body, secrets));
        Ok(Received { head, body, now })
    }
}

/// Removes a byte order mark, which JSON must not have but some servers send (RFC 8259, section 8.1).
fn decoded(head: &Parts, body: Bytes, secrets: &[&str]) -> Result<Bytes, TransportError> {
    let mut codings = head.headers.get_all(CONTENT_ENCODING).into_iter();
    let coding = codings.find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if let Some(coding) = coding.filter(|_| !body.is_empty()) {
        return Err(TransportError::content_coding(redact(coding.as_bytes(), secrets)));
    }
    let mark = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Ok(body.slice(mark..))
}

impl<S> fmt::Debug for Transport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("timeout", &self.timeout())
            .field("body_limit", &self.config.body_limit)
            .finish_non_exhaustive()
    }
}
