//! When to log in: pure functions of the times and of one random draw in `[0, 1)`.

use std::time::Duration;

/// Jitter is never more than this.
const MOST_JITTER: Duration = Duration::from_secs(30);
/// An issuer's hint is at least this, for a token whose lifetime is not known.
const LEAST_HINT: Duration = Duration::from_secs(60);
/// However long the issuer asks to be left alone, it is asked again after this.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The settings that say when to log in.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// How long before its end a token is refreshed.
    pub(crate) lead: Duration,
    pub(crate) jitter: bool,
    /// How long a token of unknown expiry is used.
    pub(crate) default_lifetime: Option<Duration>,
    /// How long after its end a token may still be used.
    pub(crate) serve_stale: Duration,
    /// The first and the longest pause after a failed login.
    pub(crate) backoff: (Duration, Duration),
}

/// At what age a token is to be refreshed; `None` if never.
///
/// The lead is at most a quarter of the lifetime. An issuer's hint is followed from half of the lifetime on, so that it
/// cannot cause a storm. Jitter makes it earlier only, by at most a tenth.
pub(crate) fn refresh_age(
    schedule: &Schedule,
    lifetime: Option<Duration>,
    hint: Option<Duration>,
    draw: f64,
) -> Option<Duration> {
    let due = match (lifetime, hint) {
        (Some(lifetime), Some(hint)) if hint < lifetime => hint.max(lifetime / 2),
        (Some(lifetime), _) => lifetime - schedule.lead.min(lifetime / 4),
        (None, Some(hint)) => hint.max(LEAST_HINT),
        (None, None) => return None,
    };
    let spread = (hint.map_or(lifetime, |_| None).unwrap_or(due) / 10).min(MOST_JITTER);
    let jitter = if schedule.jitter { spread.mul_f64(draw) } else { Duration::ZERO };
    Some(due - jitter)
}

/// How long to leave the issuer alone after so many failures in a row.
///
/// It lies between the half and the whole of a step that doubles with each failure; the half of the first is the
/// shortest pause there is.
pub(crate) fn backoff(schedule: &Schedule, failures: u32, retry_after: Option<Duration>, draw: f64) -> Duration {
    let (shortest, longest) = schedule.backoff;
    let doubled = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    let step = shortest.saturating_mul(doubled).min(longest).max(shortest);
    let pause = (step / 2).max(shortest);
    let pause = pause + (step - pause).mul_f64(draw);
    pause.max(retry_after.unwrap_or_default().min(MOST_RETRY_AFTER))
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
            lead: secs(300),
            jitter: true,
            default_lifetime: None,
            serve_stale: Duration::ZERO,
            backoff: (Duration::from_millis(500), secs(60)),
        }
    }

    #[test]
    fn a_refresh_comes_the_lead_before_the_end() {
        assert_eq!(refresh_age(&schedule(), Some(secs(3600)), None, 0.0), Some(secs(3300)));
    }

    #[test]
    fn the_lead_is_cut_to_a_quarter_of_a_short_lifetime() {
        for (lifetime, refresh) in [(1200, 900), (600, 450), (60, 45), (4, 3), (0, 0)] {
            assert_eq!(refresh_age(&schedule(), Some(secs(lifetime)), None, 0.0), Some(secs(refresh)), "{lifetime} s");
        }
    }

    #[test]
    fn the_issuers_hint_is_followed_where_it_is_before_the_end() {
        let refresh = |lifetime, hint| refresh_age(&schedule(), lifetime, Some(hint), 0.0);
        assert_eq!(refresh(Some(secs(3600)), secs(1800)), Some(secs(1800)));
        assert_eq!(refresh(Some(secs(3600)), secs(3599)), Some(secs(3599)));
        assert_eq!(refresh(Some(secs(3600)), secs(3600)), Some(secs(3300)));
        assert_eq!(refresh(None, secs(1800)), Some(secs(1800)));
        assert_eq!(refresh(Some(secs(3600)), secs(0)), Some(secs(1800)), "it cannot cause a storm");
        assert_eq!(refresh(Some(secs(3600)), secs(1799)), Some(secs(1800)));
        assert_eq!(refresh(None, secs(0)), Some(secs(60)));
    }

    #[test]
    fn a_token_without_a_known_end_is_not_refreshed() {
        assert_eq!(refresh_age(&schedule(), None, None, 0.5), None);
    }

    #[test]
    fn jitter_is_at_most_a_tenth_of_the_lifetime_and_30_seconds_and_can_be_off() {
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
    fn a_thousand_instances_are_spread() {
        let mut refreshes: Vec<_> = (0..1000)
            .map(|n| refresh_age(&schedule(), Some(secs(3600)), None, f64::from(n) / 1000.0).unwrap())
            .collect();
        refreshes.sort();
        refreshes.dedup_by_key(|refresh| refresh.as_millis() / 300);
        assert!(refreshes.len() >= 99, "{}", refreshes.len());
    }

    #[test]
    fn pauses_double_from_the_shortest_to_the_longest() {
        let pause = |failures, draw| backoff(&schedule(), failures, None, draw).as_secs_f64();
        let shortest: Vec<f64> = (1..=9).map(|failures| pause(failures, 0.0)).collect();
        assert_eq!(shortest, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        let almost_longest: Vec<f64> = (1..=8).map(|failures| pause(failures, 1.0 - 1e-9).round()).collect();
        assert_eq!(almost_longest, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    }

    #[test]
    fn a_retry_after_prolongs_the_pause_to_at_most_five_minutes() {
        let pause = |retry_after| backoff(&schedule(), 1, Some(secs(retry_after)), 0.0);
        assert_eq!(pause(0), Duration::from_millis(500));
        assert_eq!(pause(30), secs(30));
        assert_eq!(pause(300), secs(300));
        assert_eq!(pause(3600), secs(300));
        assert_eq!(pause(u64::MAX), secs(300));
    }

    proptest! {
        #[test]
        fn any_input_gives_a_refresh_before_the_end(
            lead: Duration, lifetime: Duration, hint: Option<Duration>, jitter: bool, draw in 0.0..1.0,
        ) {
            let schedule = Schedule { lead, jitter, ..schedule() };
            let refresh = refresh_age(&schedule, Some(lifetime), hint, draw).unwrap();
            prop_assert!(refresh <= lifetime);
            // With a hint a half may be used, less a tenth of that.
            prop_assert!(refresh >= lifetime.mul_f64(0.449));
            if hint.is_none() {
                // A quarter for the lead and a tenth for jitter at most: never less than 65 hundredths are used.
                prop_assert!(refresh >= lifetime.mul_f64(0.649));
                let lead_and_jitter = lead.min(lifetime).saturating_add(MOST_JITTER);
                prop_assert!(refresh >= lifetime.saturating_sub(lead_and_jitter));
            }
        }

        #[test]
        fn any_input_gives_a_pause_within_the_limits(
            failures: u32, retry_after: Option<Duration>, draw in 0.0..1.0, shortest in 1..86_400_000_u64, more: u32,
        ) {
            let shortest = Duration::from_millis(shortest);
            let longest = shortest + Duration::from_millis(more.into());
            let schedule = Schedule { backoff: (shortest, longest), ..schedule() };
            let pause = backoff(&schedule, failures, retry_after, draw);
            prop_assert!(pause >= shortest);
            prop_assert!(pause <= longest.max(MOST_RETRY_AFTER));
        }
    }
}
