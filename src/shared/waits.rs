//! How long a process waits for the store, and for the login of another process. Pure functions.

use std::time::Duration;

use super::history::CLOCK_TOLERANCE;

/// The poll intervals of a process that waits for another one. The interval doubles from the first to the longest.
pub(super) const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);
pub(super) const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(25);
pub(super) const MAX_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest poll interval while the current token is live.
const MAX_INTERVAL_WITH_TOKEN: Duration = Duration::from_secs(1);
/// The least time limit of a call of the store, while the current token is about to expire.
const MIN_STORE_TIMEOUT: Duration = Duration::from_millis(10);
/// The same, if the last call has succeeded. The store is then not unavailable, but slow, because many processes call
/// it shortly before the expiry. With a shorter limit, all of them would log in.
const MIN_RESPONSIVE_STORE_TIMEOUT: Duration = Duration::from_millis(100);
/// How many attempts of a refresher wait for any claim. Later ones do not wait for one that stands still.
const MAX_WAITING_ATTEMPTS: u32 = 2;

/// Returns the time limit of a call of the store. The call must end before the current token expires in `remaining`.
pub(super) fn store_timeout(
    limit: Duration,
    remaining: Option<Duration>,
    is_responsive: bool,
) -> Duration {
    let min = if is_responsive { MIN_RESPONSIVE_STORE_TIMEOUT } else { MIN_STORE_TIMEOUT };
    remaining.map_or(limit, |remaining| (remaining / 2).max(min).min(limit))
}

/// Returns the time until the next claim: `interval`, or longer if the current token is live for `remaining`.
pub(super) fn poll_interval(interval: Duration, remaining: Option<Duration>) -> Duration {
    remaining.map_or(interval, |remaining| {
        (remaining / 2).clamp(FIRST_POLL_INTERVAL, MAX_INTERVAL_WITH_TOKEN)
    })
}

/// The remaining times of other processes' claims, as the store has returned them during one wait.
#[derive(Clone, Copy, Default)]
pub(super) struct SeenExpiries {
    last: Option<Duration>,
    /// Two successive times were equal.
    repeated: bool,
    /// Two successive times were different.
    changed: bool,
}

impl SeenExpiries {
    pub(super) fn add(&mut self, expires_in: Duration) {
        match self.last.replace(expires_in) {
            Some(last) if last == expires_in => self.repeated = true,
            Some(_) => self.changed = true,
            None => {}
        }
    }
}

/// Returns whether the next attempt can wait for the claims of other processes.
///
/// A store can have two faults: it returns a time beyond every claim's time to live, or a claim stands still. The
/// remaining time of a real claim shrinks, until its process extends it or another process has it.
pub(super) fn can_wait_again(time_to_live: Duration, attempt: u32, seen: SeenExpiries) -> bool {
    let stands_still = seen.repeated && !seen.changed;
    let max_expiry = time_to_live.saturating_add(time_to_live / CLOCK_TOLERANCE);
    (attempt <= MAX_WAITING_ATTEMPTS || !stands_still)
        && seen.last.is_none_or(|expires_in| expires_in <= max_expiry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn call_of_the_store_ends_before_the_token_expires() {
        let limit = millis(500);
        for (remaining, is_responsive, expected) in [
            (None, false, 500),
            (Some(2000), false, 500),
            (Some(600), true, 300),
            (Some(150), false, 75),
            (Some(150), true, 100),
            (Some(0), false, 10),
        ] {
            let timeout = store_timeout(limit, remaining.map(millis), is_responsive);
            assert_eq!(timeout, millis(expected), "{remaining:?}");
        }
        assert_eq!(store_timeout(millis(5), Some(Duration::ZERO), true), millis(5));
    }

    #[test]
    fn live_token_allows_longer_poll_intervals() {
        assert_eq!(poll_interval(millis(50), None), millis(50));
        for (remaining, expected) in [(10, 25), (900, 450), (2000, 1000), (300_000, 1000)] {
            assert_eq!(
                poll_interval(FIRST_POLL_INTERVAL, Some(millis(remaining))),
                millis(expected)
            );
        }
    }

    #[test]
    fn claim_that_ends_too_late_or_stands_still_is_not_waited_for() {
        let time_to_live = millis(3200);
        for (attempt, times, expected) in [
            (1, &[3300, 3300][..], true),
            (1, &[3000, 3301], false),
            (2, &[3200, 3200], true),
            (3, &[3200, 3200, 3200], false),
            (3, &[0, 0], false),
            (3, &[3200], true),
            (3, &[3200, 3100, 3100], true),
            (9, &[3000, 3301], false),
        ] {
            let mut seen = SeenExpiries::default();
            times.iter().for_each(|time| seen.add(millis(*time)));
            assert_eq!(
                can_wait_again(time_to_live, attempt, seen),
                expected,
                "{attempt} {times:?}"
            );
        }
    }
}
