//! [`TransportError`]: why there is no complete response.

use std::{error::Error, fmt, time::Duration};

use http::{StatusCode, Uri};

use super::{
    error_kind::TransportErrorKind,
    http_service::{Elapsed, TooLarge},
    redacted_error::RedactedError,
    redirect::Redirect,
};
use crate::BoxError;

/// Reports why a request has no complete response.
///
/// [`OAuth2Error::transport_errors`](crate::oauth2::OAuth2Error::transport_errors) and
/// [`ArthurError::transport_error`](crate::arthur::ArthurError::transport_error) return it. It is not a link in the chain of
/// sources, so [`LoginError::cause`](crate::LoginError::cause) does not find it. Its text contains no secret that was sent.
///
/// [`HttpClient`](crate::http_client::HttpClient) distinguishes all causes. With another HTTP service,
/// [`is_connect`](Self::is_connect) can include failures of DNS and TLS, which [`is_dns`](Self::is_dns) and
/// [`is_tls`](Self::is_tls) do not recognize.
///
/// ```
/// use tower_auth_refresh::transport::TransportError;
///
/// fn is_offline(error: &TransportError) -> bool {
///     error.is_connect() || error.is_closed() || error.is_timeout()
/// }
/// # let _ = is_offline;
/// ```
pub struct TransportError(Reason);

enum Reason {
    /// The HTTP service failed, or the body did.
    Service {
        kind: TransportErrorKind,
        cause: Option<Box<RedactedError>>,
    },
    /// The request's own timeout.
    TimedOut(Duration),
    /// The limit of the body, in bytes.
    TooLarge(usize),
    Redirect(Redirect),
    /// The response's body has a content coding, although the request accepts none.
    ContentCoding(String),
}

/// What an error's text depends on.
pub(super) struct ErrorContext<'a> {
    pub(super) uri: &'a Uri,
    pub(super) secrets: &'a [&'a str],
    pub(super) timeout: Duration,
    pub(super) body_limit: usize,
}

impl TransportError {
    pub(super) fn new(error: BoxError, context: &ErrorContext<'_>) -> Self {
        let ErrorContext { uri, secrets, timeout, body_limit } = *context;
        Self(if error.is::<Elapsed>() {
            Reason::TimedOut(timeout)
        } else if error.is::<TooLarge>() {
            Reason::TooLarge(body_limit)
        } else if let Some(redirect) = Redirect::of_error(&error, uri, secrets) {
            Reason::Redirect(redirect)
        } else {
            let kind = TransportErrorKind::of(&*error, secrets);
            let cause = RedactedError::of(&*error, secrets, &kind.to_string());
            Reason::Service { kind, cause }
        })
    }

    pub(super) fn redirect(redirect: Redirect) -> Self {
        Self(Reason::Redirect(redirect))
    }

    pub(super) fn content_coding(coding: String) -> Self {
        Self(Reason::ContentCoding(coding))
    }

    fn kind(&self) -> Option<&TransportErrorKind> {
        match &self.0 {
            Reason::Service { kind, .. } => Some(kind),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match &self.0 {
            Reason::Redirect(redirect) => redirect.status,
            _ => None,
        }
    }

    /// Returns the delay that a redirect requests.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match &self.0 {
            Reason::Redirect(redirect) => redirect.retry_after,
            _ => None,
        }
    }

    /// Returns whether the request exceeded its [timeout](super::TransportConfig::timeout) or one of the HTTP service.
    ///
    /// Of the HTTP service, it recognizes timeouts of connections, of tokio and of reqwest. With the feature
    /// `http-client`, it also recognizes tower's [`Timeout`](https://docs.rs/tower/0.5/tower/timeout/struct.Timeout.html).
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Reason::TimedOut(_))
            || self.kind().is_some_and(TransportErrorKind::is_timeout)
    }

    /// Returns whether the connection failed: the host is unknown or unreachable, or refused it. See
    /// [`is_tls`](Self::is_tls) for TLS.
    pub fn is_connect(&self) -> bool {
        self.kind().is_some_and(TransportErrorKind::is_connect)
    }

    /// Returns whether the host's name was not resolved. [`is_connect`](Self::is_connect) then also returns `true`.
    ///
    /// Requires [`HttpClient`](crate::http_client::HttpClient).
    pub fn is_dns(&self) -> bool {
        self.kind().is_some_and(|kind| *kind == TransportErrorKind::Dns)
    }

    /// Returns whether TLS failed, most often because the certificate is not trusted.
    ///
    /// Requires [`HttpClient`](crate::http_client::HttpClient).
    pub fn is_tls(&self) -> bool {
        self.kind().is_some_and(TransportErrorKind::is_tls)
    }

    /// Returns whether the server did not follow the protocol: no TLS, no HTTP, invalid HTTP/2, or a content coding that
    /// was not requested.
    ///
    /// Requires [`HttpClient`](crate::http_client::HttpClient), except for the content coding.
    pub fn is_protocol(&self) -> bool {
        matches!(self.0, Reason::ContentCoding(_))
            || self.kind().is_some_and(TransportErrorKind::is_protocol)
    }

    /// Returns whether the connection or the HTTP/2 stream was closed or reset before the response was complete.
    ///
    /// With an HTTP service other than [`HttpClient`](crate::http_client::HttpClient), it recognizes only a
    /// [`std::io::Error`] among the causes.
    pub fn is_closed(&self) -> bool {
        self.kind().is_some_and(TransportErrorKind::is_closed)
    }

    /// Returns whether the response was a redirect that was not followed.
    ///
    /// Its target has another origin, the request would lose its body, or there were too many redirects.
    pub fn is_redirect(&self) -> bool {
        matches!(self.0, Reason::Redirect(_))
    }

    /// Returns whether the body exceeded its [limit](super::TransportConfig::body_limit), or the head exceeded the limit
    /// of the HTTP client.
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Reason::TooLarge(_))
            || self.kind().is_some_and(|kind| *kind == TransportErrorKind::HeadTooLarge)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Service { kind, .. } => kind.fmt(f),
            Reason::TimedOut(timeout) => write!(f, "response timed out after {timeout:?}"),
            Reason::TooLarge(limit) => write!(f, "response body larger than {limit} bytes"),
            Reason::Redirect(redirect) => redirect.fmt(f),
            Reason::ContentCoding(coding) => {
                write!(f, "response body has the content coding {coding}")
            }
        }
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TransportError").field(&format_args!("{self}")).finish()
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Reason::Service { cause, .. } => cause.as_deref().map(|cause| cause as _),
            _ => None,
        }
    }
}
