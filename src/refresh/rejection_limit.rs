//! How often rejections can cause logins.

use std::time::Duration;

use tokio::time::Instant;

/// The setting: at most `max` rejections count in each `per`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RejectionLimit {
    pub(crate) max: u32,
    pub(crate) per: Duration,
}

/// Stores the remaining budget as one time: the theoretical arrival time of the generic cell rate algorithm (GCRA).
#[derive(Debug, Default)]
pub(crate) struct RejectionBudget {
    theoretical_arrival: Option<Instant>,
}

impl RejectionBudget {
    /// Counts one rejection against the budget. Returns `false` if the budget is exhausted.
    pub(crate) fn try_consume(&mut self, limit: RejectionLimit, now: Instant) -> bool {
        let emission_interval = limit.per / limit.max.max(1);
        let arrival = self.theoretical_arrival.map_or(now, |arrival| arrival.max(now));
        let allowed = limit.max > 0
            && arrival.saturating_duration_since(now).saturating_add(emission_interval)
                <= limit.per;
        if allowed {
            self.theoretical_arrival = arrival.checked_add(emission_interval);
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

    const LIMIT: RejectionLimit = RejectionLimit { max: 6, per: secs(60) };

    #[test]
    fn budget_allows_a_burst_and_then_one_per_interval() {
        let (mut rejections, start) = (RejectionBudget::default(), Instant::now());
        let allowed =
            |rejections: &mut RejectionBudget, at| rejections.try_consume(LIMIT, start + secs(at));
        for _ in 0..6 {
            assert!(allowed(&mut rejections, 0));
        }
        assert!(!allowed(&mut rejections, 0));
        assert!(!allowed(&mut rejections, 9));
        assert!(allowed(&mut rejections, 10));
        assert!(!allowed(&mut rejections, 19));
        assert!(allowed(&mut rejections, 20));
        // After a long pause the whole burst is available, and no more.
        let counted = (0..100).filter(|_| allowed(&mut rejections, 10_000)).count();
        assert_eq!(counted, 6);
    }

    #[test]
    fn budget_of_zero_allows_nothing() {
        let limit = RejectionLimit { max: 0, ..LIMIT };
        assert!(!RejectionBudget::default().try_consume(limit, Instant::now()));
    }
}
