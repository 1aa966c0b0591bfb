//! When to log in: pure functions of the times and of one random draw in `[0, 1)`.

use std::time::Duration;

/// Jitter is never more than this.
const MOST_JITTER: Duration = Duration::from_secs(30);
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
/// The lead is at most a quarter of the lifetime. Jitter makes it earlier only, by at most a tenth of the lifetime.
pub(crate) fn refresh_age(
    schedule: &Schedule,
    lifetime: Option<Duration>,
    hint: Option<Duration>,
    draw: f64,
) -> Option<Duration> {
    let due = match (lifetime, hint) {
        (Some(lifetime), Some(hint)) if hint < lifetime => hint,
        (Some(lifetime), _) => lifetime - schedule.lead.min(lifetime / 4),
        (None, Some(hint)) => hint,
        (None, None) => return None,
    };
    let spread = (lifetime.unwrap_or(due) / 10).min(MOST_JITTER).min(due);
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
