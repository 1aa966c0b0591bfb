//! What a call can fail with.

use std::fmt;

use crate::{LoginError, authorize::UnsafeDestination};

/// Any error, boxed, as tower has it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call of [`AuthRefresh`](crate::AuthRefresh) failed.
///
/// It converts into [`BoxError`], so that tower's layers can stand above it; [`Error::Inner`] then becomes the inner
/// service's own error again, as if there were no layer. (It does not implement [`std::error::Error`]: a type
/// that did could not convert where the inner error is a `BoxError`, as it is above tower's `Buffer` or `Timeout`.)
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// There is no token, and this is why. The request was not sent.
    Login(LoginError),
    /// The token may not go where the request goes. The request was not sent.
    Refused(UnsafeDestination),
    /// The inner service failed.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Into<BoxError>> From<Error<E>> for BoxError {
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Login(error) => error.into(),
            Error::Refused(error) => error.into(),
            Error::Inner(error) => error.into(),
        }
    }
}

impl<E: Into<BoxError>> From<Error<E>> for Box<dyn std::error::Error> {
    fn from(error: Error<E>) -> Self {
        BoxError::from(error)
    }
}
