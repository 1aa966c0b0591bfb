//! [`PollInterval`]: the pauses between the token requests of a device login (RFC 8628, section 3.5).

use std::time::Duration;

/// By how much a `slow_down` lengthens the pause.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// The longest pause after failures, unless the server requests a longer one.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How long before the expiry the last request is sent. It has to reach the server in time.
const LAST_REQUEST: Duration = Duration::from_secs(1);

pub(super) struct PollInterval {
    /// The pause that the server requests.
    requested: Duration,
    /// The requests without a response, since the last response.
    failures: u32,
}

impl PollInterval {
    pub(super) fn new(requested: Duration) -> Self {
        Self { requested, failures: 0 }
    }

    pub(super) fn on_response(&mut self) {
        self.failures = 0;
    }

    pub(super) fn on_slow_down(&mut self) {
        self.failures = 0;
        self.requested = self.requested.saturating_add(SLOW_DOWN);
    }

    /// The request had no response. The pause doubles until there is one.
    pub(super) fn on_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Returns the pause before the next request. It is never shorter than the server requests.
    ///
    /// If no other request can follow before the expiry, it ends just before the expiry: the person can approve the login
    /// until then.
    pub(super) fn pause(&self, until_expiry: Duration) -> Duration {
        let factor = 2u32.saturating_pow(self.failures);
        let pause = self.requested.saturating_mul(factor).min(MAX_BACKOFF.max(self.requested));
        let until_last = until_expiry.saturating_sub(LAST_REQUEST);
        if pause.saturating_add(self.requested) <= until_last {
            return pause;
        }
        until_last.max(self.requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_with_slow_down_and_doubles_with_failures() {
        let mut interval = PollInterval::new(Duration::from_secs(5));
        let mut pauses = Vec::new();
        for step in "rsrffffffffrs".chars() {
            match step {
                'r' => interval.on_response(),
                's' => interval.on_slow_down(),
                _ => interval.on_failure(),
            }
            pauses.push(interval.pause(Duration::MAX).as_secs());
        }
        assert_eq!(pauses, [5, 10, 10, 20, 40, 60, 60, 60, 60, 60, 60, 10, 15]);
    }

    #[test]
    fn pause_is_never_shorter_than_the_server_requests() {
        let mut interval = PollInterval::new(Duration::from_secs(300));
        interval.on_failure();
        assert_eq!(interval.pause(Duration::MAX), Duration::from_secs(300));
        let mut interval = PollInterval::new(Duration::MAX);
        interval.on_slow_down();
        (0..100).for_each(|_| interval.on_failure());
        assert_eq!(interval.pause(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn last_pause_ends_just_before_the_expiry() {
        let mut interval = PollInterval::new(Duration::from_secs(20));
        let pause =
            |interval: &PollInterval, left| interval.pause(Duration::from_secs(left)).as_secs();
        // With 40 seconds left, the second of two requests would be too late.
        assert_eq!([41, 40, 30, 21].map(|left| pause(&interval, left)), [20, 39, 29, 20]);
        assert_eq!(pause(&interval, 5), 20, "the interval of the server comes first");
        (0..9).for_each(|_| interval.on_failure());
        assert_eq!([100, 30].map(|left| pause(&interval, left)), [60, 29]);
    }
}
