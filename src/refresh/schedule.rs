//! When to log in: pure functions of the times and of one random number in `[0, 1)`.

use std::time::Duration;

const MAX_JITTER: Duration = Duration::from_secs(30);
/// The earliest refresh that a hint can cause if the lifetime is unknown.
const MIN_HINT: Duration = Duration::from_secs(60);
/// The longest `Retry-After` that the refresher follows.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// The least time between two logins: tokio's timer resolution, so that the worker yields between two logins.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// The settings that say when to log in.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// How long before expiry a token is refreshed.
    pub(crate) refresh_lead: Duration,
    pub(crate) jitter: bool,
    /// How long a token of unknown expiry is used.
    pub(crate) default_lifetime: Option<Duration>,
    /// How long after its expiry a token can still be used.
    pub(crate) max_stale: Duration,
    pub(crate) backoff: Backoff,
}

/// The shortest and the longest pause after a failed login.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Schedule {
    /// Returns the least time between two logins.
    pub(crate) fn min_interval(&self) -> Duration {
        self.backoff.min.max(MIN_PAUSE)
    }
}

/// Returns the age at which a token is refreshed; `None` if it never is.
///
/// The lead is at most a quarter of the lifetime. An issuer's hint applies from half of the lifetime on, so that it
/// cannot cause a login storm. Jitter only makes the refresh earlier, by at most a tenth of the lifetime.
pub(crate) fn refresh_age(
    schedule: &Schedule,
    lifetime: Option<Duration>,
    hint: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    let due = match (lifetime, hint) {
        (Some(lifetime), Some(hint)) if hint < lifetime => hint.max(lifetime / 2),
        (Some(lifetime), _) => lifetime - schedule.refresh_lead.min(lifetime / 4),
        (None, Some(hint)) => hint.max(MIN_HINT),
        (None, None) => return None,
    };
    let spread = (hint.map_or(lifetime, |_| None).unwrap_or(due) / 10).min(MAX_JITTER);
    let jitter = if schedule.jitter { spread.mul_f64(random) } else { Duration::ZERO };
    Some(due - jitter)
}

/// Returns the pause after this many failures in a row.
///
/// The pause is random between half the step and the step. The step doubles with each failure, up to `max`. The first
/// pause is between `min` and twice `min`.
pub(crate) fn backoff(
    schedule: &Schedule,
    failures: u32,
    retry_after: Option<Duration>,
    random: f64,
) -> Duration {
    let Backoff { min, max } = schedule.backoff;
    let doubled = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    let step = min.saturating_mul(doubled).min(max).max(min);
    let pause = (step / 2).max(min);
    let pause = pause + (step - pause).mul_f64(random);
    pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)).max(MIN_PAUSE)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    pub(crate) fn schedule() -> Schedule {
        Schedule {
            refresh_lead: secs(300),
            jitter: true,
            default_lifetime: None,
            max_stale: Duration::ZERO,
            backoff: Backoff { min: Duration::from_millis(500), max: secs(60) },
        }
    }

    #[test]
    fn refresh_is_the_lead_before_expiry() {
        assert_eq!(refresh_age(&schedule(), Some(secs(3600)), None, 0.0), Some(secs(3300)));
    }

    #[test]
    fn lead_is_at_most_a_quarter_of_the_lifetime() {
        for (lifetime, refresh) in [(1200, 900), (600, 450), (60, 45), (4, 3), (0, 0)] {
            assert_eq!(
                refresh_age(&schedule(), Some(secs(lifetime)), None, 0.0),
                Some(secs(refresh)),
                "{lifetime} s"
            );
        }
    }

    #[test]
    fn refresh_hint_before_expiry_is_followed() {
        let refresh = |lifetime, hint| refresh_age(&schedule(), lifetime, Some(hint), 0.0);
        assert_eq!(refresh(Some(secs(3600)), secs(1800)), Some(secs(1800)));
        assert_eq!(refresh(Some(secs(3600)), secs(3599)), Some(secs(3599)));
        assert_eq!(refresh(Some(secs(3600)), secs(3600)), Some(secs(3300)));
        assert_eq!(refresh(None, secs(1800)), Some(secs(1800)));
        assert_eq!(
            refresh(Some(secs(3600)), secs(0)),
            Some(secs(1800)),
            "a hint cannot cause a login storm"
        );
        assert_eq!(refresh(Some(secs(3600)), secs(1799)), Some(secs(1800)));
        assert_eq!(refresh(None, secs(0)), Some(secs(60)));
    }

    #[test]
    fn token_without_known_expiry_is_not_refreshed() {
        assert_eq!(refresh_age(&schedule(), None, None, 0.5), None);
    }

    #[test]
    fn jitter_is_limited_and_can_be_disabled() {
        let almost_one = 1.0 - f64::EPSILON;
        let jitter = |lifetime| {
            let at = |draw| refresh_age(&schedule(), Some(secs(lifetime)), None, draw).unwrap();
            (at(0.0) - at(almost_one)).as_secs_f64().round()
        };
        assert_eq!(jitter(100), 10.0);
        assert_eq!(jitter(300), 30.0);
        assert_eq!(jitter(86_400), 30.0);
        let off = Schedule { jitter: false, ..schedule() };
        assert_eq!(refresh_age(&off, Some(secs(3600)), None, almost_one), Some(secs(3300)));
    }

    #[test]
    fn jitter_spreads_a_thousand_processes() {
        let mut refreshes: Vec<_> = (0..1000)
            .map(|n| {
                refresh_age(&schedule(), Some(secs(3600)), None, f64::from(n) / 1000.0).unwrap()
            })
            .collect();
        refreshes.sort();
        refreshes.dedup_by_key(|refresh| refresh.as_millis() / 300);
        assert!(refreshes.len() >= 99, "{}", refreshes.len());
    }

    #[test]
    fn backoff_doubles_from_min_to_max() {
        let pause = |failures, draw| backoff(&schedule(), failures, None, draw).as_secs_f64();
        let shortest: Vec<f64> = (1..=9).map(|failures| pause(failures, 0.0)).collect();
        assert_eq!(shortest, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        let almost_longest: Vec<f64> =
            (1..=8).map(|failures| pause(failures, 1.0 - 1e-9).round()).collect();
        assert_eq!(almost_longest, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    }

    #[test]
    fn retry_after_extends_backoff_up_to_five_minutes() {
        let pause = |retry_after| backoff(&schedule(), 1, Some(secs(retry_after)), 0.0);
        assert_eq!(pause(0), Duration::from_millis(500));
        assert_eq!(pause(30), secs(30));
        assert_eq!(pause(300), secs(300));
        assert_eq!(pause(3600), secs(300));
        assert_eq!(pause(u64::MAX), secs(300));
    }

    #[test]
    fn backoff_is_at_least_a_millisecond() {
        let nanosecond = Duration::from_nanos(1);
        let schedule =
            Schedule { backoff: Backoff { min: nanosecond, max: nanosecond }, ..schedule() };
        assert_eq!(schedule.min_interval(), MIN_PAUSE);
        assert_eq!(backoff(&schedule, 9, None, 0.0), MIN_PAUSE);
    }

    proptest! {
        #[test]
        fn any_refresh_is_before_expiry(
            lead: Duration, lifetime: Duration, hint: Option<Duration>, jitter: bool, draw in 0.0..1.0,
        ) {
            let schedule = Schedule { refresh_lead: lead, jitter, ..schedule() };
            let refresh = refresh_age(&schedule, Some(lifetime), hint, draw).unwrap();
            prop_assert!(refresh <= lifetime);
            // A hint applies from half of the lifetime on, less a tenth for jitter.
            prop_assert!(refresh >= lifetime.mul_f64(0.449));
            if hint.is_none() {
                // The lead is at most a quarter and jitter a tenth, so at least 65 % of the lifetime remain.
                prop_assert!(refresh >= lifetime.mul_f64(0.649));
                let lead_and_jitter = lead.min(lifetime).saturating_add(MAX_JITTER);
                prop_assert!(refresh >= lifetime.saturating_sub(lead_and_jitter));
            }
        }

        #[test]
        fn any_backoff_is_within_its_limits(
            failures: u32, retry_after: Option<Duration>, draw in 0.0..1.0, min in 1..86_400_000_u64, more: u32,
        ) {
            let min = Duration::from_millis(min);
            let max = min + Duration::from_millis(more.into());
            let schedule = Schedule { backoff: Backoff { min, max }, ..schedule() };
            let pause = backoff(&schedule, failures, retry_after, draw);
            prop_assert!(pause >= min);
            prop_assert!(pause <= max.max(MAX_RETRY_AFTER));
        }
    }
}
