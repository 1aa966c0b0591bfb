//! [`SharedFailure`]: the error of a login, which processes share for the time of its failure pause.

use std::{error::Error, time::Duration};

use crate::{error, login::LoginError, panic};

/// The failure pause after a permanent error. It doubles with each permanent error that follows.
const FIRST_FAILURE_PAUSE: Duration = Duration::from_secs(5);
const MAX_PERMANENT_FAILURE_PAUSE: Duration = Duration::from_secs(60);
/// The longest failure pause: that of an issuer that requests a delay. Refreshers have the same limit.
pub(super) const MAX_FAILURE_PAUSE: Duration = Duration::from_secs(300);
/// The longest text of an error, in characters.
const MAX_TEXT: usize = 500;

/// The error of a login. No process logs in until the failure pause is over. Then one of them does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedFailure {
    pub(super) text: String,
    pub(super) is_permanent: bool,
    /// The time since the error.
    pub(super) age: Duration,
    /// The length of the failure pause, counted from the error.
    pub(super) pause: Duration,
}

impl SharedFailure {
    /// Creates the failure that processes share after `error`. Returns `None` if they can log in immediately.
    ///
    /// `previous` is the failure of the login before.
    pub(super) fn new(error: &LoginError, previous: Option<&Self>) -> Option<Self> {
        let pause = Self::pause_after(error, previous)?;
        // The two outer errors state only that the login failed, and when it can be retried.
        let cause = || {
            let cause = error.source()?.source()?;
            Some(error::message(cause).chars().take(MAX_TEXT).collect())
        };
        // User code renders the text, and can panic.
        let text = panic::catch(cause).flatten().unwrap_or_else(|| "unknown cause".to_owned());
        Some(Self { text, is_permanent: error.is_permanent(), age: Duration::ZERO, pause })
    }

    /// Returns the failure pause after an error. Only a permanent error, and one with a delay that the issuer requests,
    /// have one.
    fn pause_after(error: &LoginError, previous: Option<&Self>) -> Option<Duration> {
        let requested = error.retry_after().map(|delay| delay.min(MAX_FAILURE_PAUSE));
        if !error.is_permanent() {
            return requested.filter(|delay| !delay.is_zero());
        }
        let previous = previous.filter(|previous| previous.is_permanent);
        let pause = previous.map_or(FIRST_FAILURE_PAUSE, |previous| {
            previous.pause.saturating_mul(2).clamp(FIRST_FAILURE_PAUSE, MAX_PERMANENT_FAILURE_PAUSE)
        });
        Some(pause.max(requested.unwrap_or_default()))
    }

    /// Returns the rest of the failure pause.
    pub(super) fn remaining(&self) -> Duration {
        self.pause.saturating_sub(self.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn failure_pause_doubles_with_each_permanent_error_up_to_a_minute() {
        let error = LoginError::permanent("wrong password");
        let mut previous: Option<SharedFailure> = None;
        for expected in [5, 10, 20, 40, 60, 60] {
            let pause = SharedFailure::pause_after(&error, previous.as_ref()).unwrap();
            assert_eq!(pause, secs(expected));
            let text = String::new();
            previous = Some(SharedFailure { text, is_permanent: true, age: pause, pause });
        }
        let busy = LoginError::transient("too many requests");
        assert_eq!(SharedFailure::pause_after(&busy, previous.as_ref()), None);
        for (requested, expected) in [(0, None), (7, Some(secs(7))), (9999, Some(secs(300)))] {
            let busy = busy.clone().with_retry_after(secs(requested));
            assert_eq!(SharedFailure::pause_after(&busy, previous.as_ref()), expected);
        }
        let error = error.with_retry_after(secs(90));
        assert_eq!(SharedFailure::pause_after(&error, None), Some(secs(90)));
    }
}
