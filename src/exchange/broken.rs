//! [`Broken`]: why there was no whole answer.

use std::{error::Error, fmt, time::Duration};

use http_body_util::LengthLimitError;

use super::{cause::Cause, fault::Fault, http_service::DeadlinePassed};
use crate::BoxError;

/// An exchange that broke off, or could not begin.
pub(crate) enum Broken {
    Fault { fault: Fault, cause: Option<Box<Cause>> },
    TimedOut(Duration),
    TooLarge(usize),
}

impl Broken {
    pub(super) fn of(error: BoxError, secrets: &[&str], timeout: Duration, body_limit: usize) -> Self {
        match () {
            () if error.is::<DeadlinePassed>() => Self::TimedOut(timeout),
            () if error.is::<LengthLimitError>() => Self::TooLarge(body_limit),
            () => Self::Fault { fault: Fault::of(&*error, secrets), cause: Cause::of(&*error, secrets) },
        }
    }

    fn has_fault(&self, is: impl Fn(&Fault) -> bool) -> bool {
        matches!(self, Self::Fault { fault, .. } if is(fault))
    }

    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_)) || self.has_fault(|fault| *fault == Fault::TimedOut)
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.has_fault(Fault::is_connect)
    }

    pub(crate) fn is_dns(&self) -> bool {
        self.has_fault(|fault| *fault == Fault::Lookup)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.has_fault(Fault::is_tls)
    }

    pub(crate) fn is_protocol(&self) -> bool {
        self.has_fault(Fault::is_protocol)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::Closed | Fault::Reset))
    }

    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_)) || self.has_fault(|fault| *fault == Fault::HeadTooLarge)
    }

    pub(crate) fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Fault { cause, .. } => cause.as_deref().map(|cause| cause as _),
            _ => None,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { fault, .. } => fault.fmt(f),
            Self::TimedOut(limit) => write!(f, "no whole answer within {limit:?}"),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
        }
    }
}
