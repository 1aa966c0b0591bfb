//! [`UsageTracker`]: detects whether the token is still used, at no cost to requests.
//!
//! A fast-path call records nothing. So the state withholds the token from the cell once between two logins. The next
//! call reads an empty cell and polls the state. This shows that the token is used.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two probes of a token that is never refreshed.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct UsageTracker {
    /// How long without use until refreshes pause; `None`: they never pause.
    idle_after: Option<Duration>,
    last_use: Option<Instant>,
    probe: UseProbe,
}

/// The one probe between two logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseProbe {
    /// The probe has not started.
    Pending,
    /// The token is withheld from the cell.
    Withheld,
    /// A call has requested the token. The token stays in the cell until the next login ends.
    Answered,
}

impl UsageTracker {
    pub(crate) fn new(idle_after: Option<Duration>) -> Self {
        Self { idle_after, last_use: None, probe: UseProbe::Pending }
    }

    /// Records a call that requested the token. A use while the refresh is due also counts as the probe's result.
    pub(crate) fn record_use(&mut self, now: Instant, refresh_is_due: bool) {
        self.last_use = Some(now);
        if refresh_is_due || self.probe == UseProbe::Withheld {
            self.probe = UseProbe::Answered;
        }
    }

    /// Returns whether the token is withheld from the cell.
    pub(crate) fn withholds_token(&self) -> bool {
        self.probe == UseProbe::Withheld
    }

    /// Returns the time left until the probe has to start, if the next login is due in `until_scheduled_login`.
    ///
    /// If no login is ever due, the probe is repeated: after the idle time without use, and at least a minute.
    pub(crate) fn until_probe(
        &self,
        until_scheduled_login: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        let idle_after = self.idle_after.filter(|_| self.probe != UseProbe::Withheld)?;
        match until_scheduled_login {
            Some(until) => {
                (self.probe == UseProbe::Pending).then(|| until.saturating_sub(idle_after))
            }
            None => {
                let due = self.last_use?.checked_add(idle_after.max(MIN_PROBE_INTERVAL))?;
                Some(due.saturating_duration_since(now))
            }
        }
    }

    /// Starts the probe. The token was in the cell until now, so it may have been used until now.
    pub(crate) fn start_probe(&mut self, now: Instant) {
        self.probe = UseProbe::Withheld;
        self.last_use = Some(now);
    }

    /// Ends a probe that started before a token that is never probed.
    pub(crate) fn cancel_probe(&mut self) {
        self.probe = UseProbe::Pending;
    }

    /// Prepares the next probe. An unused token stays withheld if its next probe starts immediately, because publishing
    /// it would count as a use.
    pub(crate) fn on_login_finished(&mut self, until_scheduled_login: Option<Duration>) {
        let starts_at_once = self
            .idle_after
            .zip(until_scheduled_login)
            .is_some_and(|(idle_after, until)| until <= idle_after);
        if !(self.probe == UseProbe::Withheld && starts_at_once) {
            self.probe = UseProbe::Pending;
        }
    }

    /// Returns the time left until the refresher is idle, if no call uses it; `None` if it is never idle.
    pub(crate) fn until_idle(&self, now: Instant) -> Option<Duration> {
        let idle_at = self.last_use?.checked_add(self.idle_after?)?;
        Some(idle_at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn probe_starts_the_idle_time_before_the_login() {
        let (tracker, now) = (UsageTracker::new(Some(secs(600))), Instant::now());
        assert_eq!(tracker.until_probe(Some(secs(3300)), now), Some(secs(2700)));
        assert_eq!(tracker.until_probe(Some(secs(60)), now), Some(Duration::ZERO));
        assert_eq!(UsageTracker::new(None).until_probe(Some(secs(60)), now), None);
    }

    #[test]
    fn one_probe_between_two_logins() {
        let (mut tracker, start) = (UsageTracker::new(Some(secs(600))), Instant::now());
        tracker.start_probe(start);
        assert!(tracker.withholds_token());
        tracker.record_use(start + secs(1), false);
        assert!(!tracker.withholds_token());
        assert_eq!(
            tracker.until_probe(Some(Duration::ZERO), start),
            None,
            "the probe has its result"
        );
        tracker.on_login_finished(Some(secs(3300)));
        assert!(tracker.until_probe(Some(secs(3300)), start).is_some());
    }

    #[test]
    fn token_that_is_never_refreshed_is_probed_again_and_again() {
        let (mut tracker, start) = (UsageTracker::new(Some(secs(600))), Instant::now());
        for hour in [0, 1] {
            let used = start + secs(hour * 3600);
            tracker.record_use(used, false);
            assert_eq!(tracker.until_probe(None, used + secs(599)), Some(secs(1)));
            tracker.start_probe(used + secs(600));
            assert_eq!(tracker.until_idle(used + secs(600)), Some(secs(600)));
        }
    }

    #[test]
    fn unused_token_stays_withheld_after_a_refresh() {
        let (mut tracker, start) = (UsageTracker::new(Some(secs(7200))), Instant::now());
        tracker.start_probe(start);
        tracker.on_login_finished(Some(secs(3300)));
        assert!(tracker.withholds_token());
        assert_eq!(
            tracker.until_idle(start + secs(3300)),
            Some(secs(3900)),
            "a refresh does not count as a use"
        );
        tracker.on_login_finished(Some(secs(7201)));
        assert!(!tracker.withholds_token(), "its own probe comes later");
    }

    #[test]
    fn use_while_the_refresh_is_due_answers_the_probe() {
        let (mut tracker, start) = (UsageTracker::new(Some(Duration::ZERO)), Instant::now());
        tracker.record_use(start, true);
        assert_eq!(tracker.until_probe(Some(Duration::ZERO), start), None);
    }
}
