//! [`RetryAdvice`]: whether and when a login can be retried, as a link in the chain of causes.

use std::{error::Error, fmt, time::Duration};

use crate::error::BoxError;

/// What a login service states about a retry.
///
/// It is an error of its own, between a `LoginError` and its cause. A wrapper that delegates its `source`, such as an
/// `anyhow::Error`, hides the `LoginError` itself, but not this link.
#[derive(Debug)]
pub(super) struct RetryAdvice {
    pub(super) is_permanent: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) cause: Option<BoxError>,
}

impl RetryAdvice {
    /// Returns whether it states nothing: a retry can help, at any time.
    pub(super) fn is_default(&self) -> bool {
        !self.is_permanent && self.retry_after.is_none()
    }
}

impl fmt::Display for RetryAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_permanent, self.retry_after) {
            (true, None) => f.write_str("permanent failure"),
            (true, Some(delay)) => write!(f, "permanent failure, retry after {delay:?}"),
            (false, Some(delay)) => write!(f, "retry after {delay:?}"),
            (false, None) => f.write_str("transient failure"),
        }
    }
}

impl Error for RetryAdvice {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
