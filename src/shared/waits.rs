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
/// How many attempts of a refresher wait for any claim. Later ones wait only for claims that end.
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

/// Returns whether the next attempt can wait for the claim of another process, which ends after `expires_in`.
/// `shortest` is the least such time during this wait.
///
/// A store can have two faults: it returns a time beyond every claim's time to live, or a claim does not end. A live
/// process extends its claim each third of the time to live. So a claim with less than half of that time left is about
/// to end, and another process can log in next.
pub(super) fn can_wait_again(
    time_to_live: Duration,
    attempt: u32,
    expires_in: Duration,
    shortest: Duration,
) -> bool {
    let ends = attempt <= MAX_WAITING_ATTEMPTS || shortest < time_to_live / 2;
    ends && expires_in <= time_to_live.saturating_add(time_to_live / CLOCK_TOLERANCE)
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
    fn claim_that_ends_too_late_or_never_is_not_waited_for() {
        let time_to_live = millis(3200);
        for (attempt, expires_in, shortest, expected) in [
            (1, 3300, 3300, true),
            (1, 3301, 0, false),
            (2, 3200, 3200, true),
            (3, 3200, 1600, false),
            (3, 3200, 1599, true),
            (9, 3301, 0, false),
        ] {
            let can_wait =
                can_wait_again(time_to_live, attempt, millis(expires_in), millis(shortest));
            assert_eq!(can_wait, expected, "{attempt} {expires_in} {shortest}");
        }
    }
}
