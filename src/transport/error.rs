//! [`TransportError`]: why there was no whole answer.

use std::{error::Error, fmt, time::Duration};

use http_body_util::LengthLimitError;

use super::{error_kind::TransportErrorKind, http_service::Elapsed, redacted_error::RedactedError};
use crate::BoxError;

/// An exchange that broke off, or could not begin.
pub(crate) enum TransportError {
    Failed { kind: TransportErrorKind, cause: Option<Box<RedactedError>> },
    TimedOut(Duration),
    TooLarge(usize),
}

impl TransportError {
    pub(super) fn of(error: BoxError, secrets: &[&str], timeout: Duration, body_limit: usize) -> Self {
        match () {
            () if error.is::<Elapsed>() => Self::TimedOut(timeout),
            () if error.is::<LengthLimitError>() => Self::TooLarge(body_limit),
            () => Self::Failed {
                kind: TransportErrorKind::of(&*error, secrets),
                cause: RedactedError::of(&*error, secrets),
            },
        }
    }

    fn has_fault(&self, is: impl Fn(&TransportErrorKind) -> bool) -> bool {
        matches!(self, Self::Failed { kind, .. } if is(kind))
    }

    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_)) || self.has_fault(|kind| *kind == TransportErrorKind::TimedOut)
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.has_fault(TransportErrorKind::is_connect)
    }

    pub(crate) fn is_dns(&self) -> bool {
        self.has_fault(|kind| *kind == TransportErrorKind::Lookup)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.has_fault(TransportErrorKind::is_tls)
    }

    pub(crate) fn is_protocol(&self) -> bool {
        self.has_fault(TransportErrorKind::is_protocol)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.has_fault(|kind| matches!(kind, TransportErrorKind::Closed | TransportErrorKind::Reset))
    }

    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_)) || self.has_fault(|kind| *kind == TransportErrorKind::HeadTooLarge)
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
            Self::TimedOut(limit) => write!(f, "no whole answer within {limit:?}"),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
        }
    }
}
