//! [`TimeLimit`]: how long the person has.

use std::time::Duration;

use tokio::{runtime::Handle, time::Instant};

use super::error_kind::NativeAppErrorKind;

/// A limit that counts from the start of a login. It holds no timer, so that any runtime can wait for its end.
#[derive(Clone, Copy)]
pub(super) struct TimeLimit {
    limit: Duration,
    started: Instant,
}

impl TimeLimit {
    pub(super) fn new(limit: Duration, started: Instant) -> Self {
        Self { limit, started }
    }

    pub(super) fn limit(self) -> Duration {
        self.limit
    }

    pub(super) fn remaining(self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }
}

/// Returns an error outside of a tokio runtime, where sockets and timers panic.
pub(super) fn check_runtime() -> Result<(), NativeAppErrorKind> {
    Handle::try_current().map(drop).map_err(|_| NativeAppErrorKind::NoRuntime)
}
