//! [`RetryAdvice`]: whether and when a login can be retried, as a link in the chain of causes.

use std::{error::Error, fmt, sync::Arc, time::Duration};

/// What a login service states about a retry.
///
/// It is an error of its own, between a `LoginError` and its cause. A wrapper that delegates its `source`, such as an
/// `anyhow::Error`, hides the `LoginError` itself, but not this link.
#[derive(Clone, Debug)]
pub(super) struct RetryAdvice {
    pub(super) is_permanent: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl RetryAdvice {
    /// Returns whether the failure is permanent, and the delay. The default of both is that of an unknown error.
    pub(super) fn terms(&self) -> (bool, Option<Duration>) {
        (self.is_permanent, self.retry_after)
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
