//! How processes that share a token spread their logins while the store is unavailable. Pure functions of one random
//! number in `[0, 1)`.

use std::time::Duration;

/// The refresher's default pauses: the first one is one second at most, and the longest a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Returns after which time a process logs in without the store, if its token lives for `remaining`.
///
/// The times of all processes are uniform over the remaining time, except a reserve for the login itself.
pub(super) fn login_after(remaining: Duration, last_login: Duration, random: f64) -> Duration {
    let reserve = (remaining / 4).max(last_login.saturating_mul(2));
    remaining.saturating_sub(reserve).mul_f64(random)
}

/// What a process does until then.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// It waits, and then logs in.
    Wait(Duration),
    /// It fails, and its refresher retries. `Wait` would exceed the refresher's limit of a login.
    Retry,
}

/// Returns what a process does for the time until its login. It can wait for `patience`.
///
/// If the pause after a failure could exceed that time, the login is earlier.
pub(super) fn delay(until_login: Duration, patience: Duration, attempt: u32, random: f64) -> Delay {
    let doubled = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
    let next_pause = FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE);
    if until_login <= patience {
        Delay::Wait(until_login)
    } else if until_login > next_pause {
        Delay::Retry
    } else {
        Delay::Wait(patience.mul_f64(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn logins_are_uniform_over_the_time_that_is_left() {
        let after = |random| login_after(secs(300), secs(1), random);
        assert_eq!(after(0.0), Duration::ZERO);
        assert_eq!(after(0.5), Duration::from_millis(112_500));
        assert_eq!(after(1.0 - f64::EPSILON).as_secs_f64().round(), 225.0);
        assert_eq!(login_after(secs(10), secs(4), 1.0), secs(2), "time for the login is left");
        assert_eq!(login_after(secs(10), secs(6), 1.0), Duration::ZERO);
    }

    #[test]
    fn long_delay_is_left_to_the_refresher() {
        let patience = secs(14);
        assert_eq!(delay(secs(14), patience, 1, 0.5), Delay::Wait(secs(14)));
        assert_eq!(delay(secs(15), patience, 1, 0.5), Delay::Retry);
        assert_eq!(delay(secs(61), patience, u32::MAX, 0.5), Delay::Retry);
        // The pause could be longer than the delay.
        assert_eq!(delay(secs(60), patience, 9, 0.5), Delay::Wait(secs(7)));
        assert_eq!(delay(secs(16), patience, 5, 0.5), Delay::Wait(secs(7)));
        assert_eq!(delay(secs(17), patience, 5, 0.5), Delay::Retry);
        assert_eq!(delay(secs(1), Duration::ZERO, 9, 0.5), Delay::Wait(Duration::ZERO));
    }
}
