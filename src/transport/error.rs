//! [`TransportError`]: why there is no complete response.

use std::{error::Error, fmt, time::Duration};

use http::{StatusCode, Uri};
use http_body_util::LengthLimitError;

use super::{
    error_kind::TransportErrorKind, http_service::Elapsed, redacted_error::RedactedError,
    redirect::Redirect,
};
use crate::BoxError;

/// Reports why a request has no complete response.
///
/// [`OAuth2Error::transport`](crate::oauth2::OAuth2Error::transport) and
/// [`ArthurError::transport`](crate::arthur::ArthurError::transport) return it. Its text contains no secret that was sent.
///
/// ```
/// use tower_auth_refresh::transport::TransportError;
///
/// fn is_offline(error: &TransportError) -> bool {
///     error.is_connect() || error.is_closed() || error.is_timeout()
/// }
/// # let _ = is_offline;
/// ```
pub struct TransportError(Failure);

enum Failure {
    /// The HTTP service failed, or the body did.
    Http {
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
pub(super) struct Context<'a> {
    pub(super) uri: &'a Uri,
    pub(super) secrets: &'a [&'a str],
    pub(super) timeout: Duration,
    pub(super) body_limit: usize,
}

impl TransportError {
    pub(super) fn new(error: BoxError, context: &Context<'_>) -> Self {
        let Context { uri, secrets, timeout, body_limit } = *context;
        Self(if error.is::<Elapsed>() {
            Failure::TimedOut(timeout)
        } else if error.is::<LengthLimitError>() {
            Failure::TooLarge(body_limit)
        } else if let Some(redirect) = Redirect::of_error(&error, uri, secrets) {
            Failure::Redirect(redirect)
        } else {
            let kind = TransportErrorKind::of(&*error, secrets);
            Failure::Http { kind, cause: RedactedError::of(&*error, secrets) }
        })
    }

    pub(super) fn redirect(redirect: Redirect) -> Self {
        Self(Failure::Redirect(redirect))
    }

    pub(super) fn content_coding(coding: String) -> Self {
        Self(Failure::ContentCoding(coding))
    }

    fn kind(&self) -> Option<&TransportErrorKind> {
        match &self.0 {
            Failure::Http { kind, .. } => Some(kind),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match &self.0 {
            Failure::Redirect(redirect) => redirect.status,
            _ => None,
        }
    }

    /// Returns whether the request exceeded its [timeout](super::TransportConfig::timeout), or the connection timed out.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Failure::TimedOut(_))
            || self.kind().is_some_and(|kind| *kind == TransportErrorKind::TimedOut)
    }

    /// Returns whether the connection failed: the host is unknown or unreachable, or refused it. See
    /// [`is_tls`](Self::is_tls) for TLS.
    pub fn is_connect(&self) -> bool {
        self.kind().is_some_and(TransportErrorKind::is_connect)
    }

    /// Returns whether the host's name was not resolved. Such an error is also one [to connect](Self::is_connect).
    pub fn is_dns(&self) -> bool {
        self.kind().is_some_and(|kind| *kind == TransportErrorKind::Dns)
    }

    /// Returns whether TLS failed, most often because the certificate is not trusted.
    pub fn is_tls(&self) -> bool {
        self.kind().is_some_and(TransportErrorKind::is_tls)
    }

    /// Returns whether the server did not follow the protocol: no TLS, no HTTP, invalid HTTP/2, or a content coding that
    /// was not requested.
    pub fn is_protocol(&self) -> bool {
        matches!(self.0, Failure::ContentCoding(_))
            || self.kind().is_some_and(TransportErrorKind::is_protocol)
    }

    /// Returns whether the connection or the HTTP/2 stream was closed or reset before the response was complete.
    pub fn is_closed(&self) -> bool {
        self.kind().is_some_and(TransportErrorKind::is_closed)
    }

    /// Returns whether the response was a redirect that was not followed: to another origin, or one too many.
    pub fn is_redirect(&self) -> bool {
        matches!(self.0, Failure::Redirect(_))
    }

    /// Returns whether the body exceeded its [limit](super::TransportConfig::body_limit), or the head exceeded the limit
    /// of the HTTP client.
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Failure::TooLarge(_))
            || self.kind().is_some_and(|kind| *kind == TransportErrorKind::HeadTooLarge)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Failure::Http { kind, .. } => kind.fmt(f),
            Failure::TimedOut(timeout) => {
                write!(f, "timed out after {timeout:?} waiting for the response")
            }
            Failure::TooLarge(limit) => write!(f, "response body larger than {limit} bytes"),
            Failure::Redirect(redirect) => redirect.fmt(f),
            Failure::ContentCoding(coding) => {
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
            Failure::Http { cause, .. } => cause.as_deref().map(|cause| cause as _),
            _ => None,
        }
    }
}
