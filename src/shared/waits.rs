//! How long a process waits for the store, and for the login of another process. Pure functions.

use std::time::Duration;

use super::adoption::CLOCK_TOLERANCE;

/// The pauses of a process that waits for another one.
pub(super) const MIN_PAUSE: Duration = Duration::from_millis(10);
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(25);
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause of a process that has a live token.
const MAX_UNHURRIED_PAUSE: Duration = Duration::from_secs(1);
/// The least time for a step of the store, while the current token is about to expire.
const MIN_STORE_TIMEOUT: Duration = Duration::from_millis(10);
/// The same, if the store has just responded. Then it is slow rather than unavailable, because many processes call it
/// shortly before the expiry. All of them would log in.
const MIN_RESPONSIVE_STORE_TIMEOUT: Duration = Duration::from_millis(100);
/// After this attempt, a process does not rely on the logins of others.
const LAST_RELIANT_ATTEMPT: u32 = 2;

/// Returns the limit of a step of the store. A live token must not expire before its end.
pub(super) fn store_timeout(
    limit: Duration,
    remaining: Option<Duration>,
    is_responsive: bool,
) -> Duration {
    let min = if is_responsive { MIN_RESPONSIVE_STORE_TIMEOUT } else { MIN_STORE_TIMEOUT };
    remaining.map_or(limit, |remaining| (remaining / 2).max(min).min(limit))
}

/// Returns the pause until the next claim: `step`, or longer if the current token lives for `remaining`.
pub(super) fn pause(step: Duration, remaining: Option<Duration>) -> Duration {
    remaining.map_or(step, |remaining| (remaining / 2).clamp(FIRST_PAUSE, MAX_UNHURRIED_PAUSE))
}

/// Returns for how long the process waits for the logins of others, which take `login_timeout` at most. `random` is in
/// `[0, 1)`.
///
/// From the third attempt on, the process then logs in itself, and other processes do so too: not at the same time, and early
/// enough that the wait and the login take twice the limit at most, which is the refresher's limit by default.
pub(super) fn patience(login_timeout: Duration, attempt: u32, random: f64) -> Duration {
    match attempt {
        ..=LAST_RELIANT_ATTEMPT => login_timeout,
        _ => login_timeout - (login_timeout / 2).mul_f64(random),
    }
}

/// Returns whether another process is logging in, and this one can wait for it again.
///
/// A claim that ends later than any claim should is a fault of the store.
pub(super) fn relies_on_claim(time_to_live: Duration, attempt: u32, expires_in: Duration) -> bool {
    attempt <= LAST_RELIANT_ATTEMPT
        && expires_in <= time_to_live.saturating_add(time_to_live / CLOCK_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn step_of_the_store_ends_before_the_token_expires() {
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
    fn live_token_allows_longer_pauses_than_none() {
        assert_eq!(pause(millis(50), None), millis(50));
        for (remaining, expected) in [(10, 25), (900, 450), (2000, 1000), (300_000, 1000)] {
            assert_eq!(pause(FIRST_PAUSE, Some(millis(remaining))), millis(expected));
        }
    }

    #[test]
    fn patience_is_spread_from_the_third_attempt_on() {
        let limit = millis(12_000);
        assert_eq!(patience(limit, 2, 0.5), limit);
        assert_eq!(patience(limit, 3, 0.0), limit);
        assert_eq!(patience(limit, 3, 0.5), millis(9_000));
    }

    #[test]
    fn claim_that_ends_too_late_is_not_relied_on() {
        let time_to_live = millis(3200);
        for (attempt, expires_in, expected) in
            [(1, 3300, true), (2, 0, true), (3, 0, false), (1, 3301, false)]
        {
            let relies = relies_on_claim(time_to_live, attempt, millis(expires_in));
            assert_eq!(relies, expected, "{attempt} {expires_in}");
        }
    }
}
