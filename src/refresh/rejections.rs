//! How often rejections may cause logins.

use std::time::Duration;

use tokio::time::Instant;

/// The settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RejectionLimit {
    /// A token younger than this is not dropped for a rejection: it may not be valid everywhere yet.
    pub(crate) min_age: Duration,
    /// So many rejections count in each `per`.
    pub(crate) burst: u32,
    pub(crate) per: Duration,
}

/// What has been allowed so far, in one number (the generic cell rate algorithm): when the allowance would be whole
/// again.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    whole_at: Option<Instant>,
}

impl Rejections {
    /// Whether one more rejection, of a token of this age, counts.
    pub(crate) fn allow(&mut self, limit: &RejectionLimit, age: Duration, now: Instant) -> bool {
        let share = limit.per / limit.burst.max(1);
        let whole_at = self.whole_at.map_or(now, |whole_at| whole_at.max(now));
        let allowed = age >= limit.min_age
            && limit.burst > 0
            && whole_at.saturating_duration_since(now).saturating_add(share) <= limit.per;
        if allowed {
            self.whole_at = whole_at.checked_add(share);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const LIMIT: RejectionLimit = RejectionLimit { min_age: secs(1), burst: 6, per: secs(60) };

    #[test]
    fn a_burst_counts_and_then_one_in_each_share() {
        let (mut rejections, start) = (Rejections::default(), Instant::now());
        let allowed = |rejections: &mut Rejections, at| rejections.allow(&LIMIT, secs(5), start + secs(at));
        for _ in 0..6 {
            assert!(allowed(&mut rejections, 0));
        }
        assert!(!allowed(&mut rejections, 0));
        assert!(!allowed(&mut rejections, 9));
        assert!(allowed(&mut rejections, 10));
        assert!(!allowed(&mut rejections, 19));
        assert!(allowed(&mut rejections, 20));
        // After a long silence the burst is whole again, and no more than that.
        let counted = (0..100).filter(|_| allowed(&mut rejections, 10_000)).count();
        assert_eq!(counted, 6);
    }

    #[test]
    fn a_young_token_is_not_rejected() {
        let (mut rejections, now) = (Rejections::default(), Instant::now());
        assert!(!rejections.allow(&LIMIT, Duration::from_millis(999), now));
        assert!(rejections.allow(&LIMIT, secs(1), now));
    }

    #[test]
    fn with_a_burst_of_none_nothing_counts() {
        let limit = RejectionLimit { burst: 0, ..LIMIT };
        assert!(!Rejections::default().allow(&limit, secs(5), Instant::now()));
    }
}
