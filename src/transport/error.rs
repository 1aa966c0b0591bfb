//! [`TransportError`]: why there is no complete response.

use std::{error::Error, fmt, time::Duration};

use http::{StatusCode, Uri};
use http_body_util::LengthLimitError;

use super::{
    error_kind::TransportErrorKind, http_service::Elapsed, redacted_error::RedactedError,
    redirect::Redirect,
};
use crate::BoxError;

/// The error of a request without a response that can be read.
pub(crate) enum TransportError {
    Failed {
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
        if error.is::<Elapsed>() {
            return Self::TimedOut(timeout);
        }
        if error.is::<LengthLimitError>() {
            return Self::TooLarge(body_limit);
        }
        if let Some(redirect) = Redirect::of_error(&error, uri, secrets) {
            return Self::Redirect(redirect);
        }
        let kind = TransportErrorKind::of(&*error, secrets);
        Self::Failed { kind, cause: RedactedError::of(&*error, secrets) }
    }

    fn kind_is(&self, is: impl Fn(&TransportErrorKind) -> bool) -> bool {
        matches!(self, Self::Failed { kind, .. } if is(kind))
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Redirect(redirect) => redirect.status,
            _ => None,
        }
    }

    pub(crate) fn is_redirect(&self) -> bool {
        matches!(self, Self::Redirect(_))
    }

    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
            || self.kind_is(|kind| *kind == TransportErrorKind::TimedOut)
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.kind_is(TransportErrorKind::is_connect)
    }

    pub(crate) fn is_dns(&self) -> bool {
        self.kind_is(|kind| *kind == TransportErrorKind::Dns)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.kind_is(TransportErrorKind::is_tls)
    }

    pub(crate) fn is_protocol(&self) -> bool {
        matches!(self, Self::ContentCoding(_)) || self.kind_is(TransportErrorKind::is_protocol)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.kind_is(TransportErrorKind::is_closed)
    }

    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_))
            || self.kind_is(|kind| *kind == TransportErrorKind::HeadTooLarge)
    }

    pub(crate) fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { cause, .. } => cause.as_deref().map(|cause| cause as _),
            _ => None,
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { kind, .. } => kind.fmt(f),
            Self::TimedOut(timeout) => {
                write!(f, "timed out after {timeout:?} waiting for the response")
            }
            Self::TooLarge(limit) => write!(f, "response body larger than {limit} bytes"),
            Self::Redirect(redirect) => redirect.fmt(f),
            Self::ContentCoding(coding) => {
                write!(f, "response body has the content coding {coding}")
            }
        }
    }
}
