//! How processes spread their logins while the store is unavailable. Pure functions of one random number in `[0, 1)`.

use std::time::Duration;

/// The refresher's default backoff. It doubles with each attempt, so the one after attempt 1 is one second at most.
const REFRESHER_FIRST_BACKOFF: Duration = Duration::from_millis(500);
const REFRESHER_MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Returns after which time a process logs in without the store, if the current token is live for `remaining`.
///
/// The times of all processes are uniform over the remaining time, less a reserve for the login itself.
pub(super) fn login_after(remaining: Duration, last_login: Duration, random: f64) -> Duration {
    let reserve = (remaining / 4).max(last_login.saturating_mul(2));
    remaining.saturating_sub(reserve).mul_f64(random)
}

/// What a process does until its login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// It waits, and then logs in.
    Wait(Duration),
    /// It fails, and its refresher retries. A wait would exceed the time limit of the refresher.
    Retry,
}

/// Returns what a process does until its login. It can wait for `max_wait`.
///
/// If the backoff of the refresher could end after the time of the login, the process logs in earlier.
pub(super) fn delay(until_login: Duration, max_wait: Duration, attempt: u32, random: f64) -> Delay {
    let doubled = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
    let next_backoff = REFRESHER_FIRST_BACKOFF.saturating_mul(doubled).min(REFRESHER_MAX_BACKOFF);
    if until_login <= max_wait {
        Delay::Wait(until_login)
    } else if until_login > next_backoff {
        Delay::Retry
    } else {
        Delay::Wait(max_wait.mul_f64(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn logins_are_uniform_over_the_remaining_time() {
        let after = |random| login_after(secs(300), secs(1), random);
        assert_eq!(after(0.0), Duration::ZERO);
        assert_eq!(after(0.5), Duration::from_millis(112_500));
        assert_eq!(after(1.0 - f64::EPSILON).as_secs_f64().round(), 225.0);
        assert_eq!(login_after(secs(10), secs(4), 1.0), secs(2), "time for the login is left");
        assert_eq!(login_after(secs(10), secs(6), 1.0), Duration::ZERO);
    }

    #[test]
    fn long_delay_is_left_to_the_refresher() {
        let max_wait = secs(14);
        assert_eq!(delay(secs(14), max_wait, 1, 0.5), Delay::Wait(secs(14)));
        assert_eq!(delay(secs(15), max_wait, 1, 0.5), Delay::Retry);
        assert_eq!(delay(secs(61), max_wait, u32::MAX, 0.5), Delay::Retry);
        // The backoff could be longer than the time until the login.
        assert_eq!(delay(secs(60), max_wait, 9, 0.5), Delay::Wait(secs(7)));
        assert_eq!(delay(secs(16), max_wait, 5, 0.5), Delay::Wait(secs(7)));
        assert_eq!(delay(secs(17), max_wait, 5, 0.5), Delay::Retry);
        assert_eq!(delay(secs(1), Duration::ZERO, 9, 0.5), Delay::Wait(Duration::ZERO));
    }
}
