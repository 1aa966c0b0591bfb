//! [`RateLimit`] and [`RateBudget`]: how many events count in a period.

use std::time::Duration;

use tokio::time::Instant;

/// The setting: at most `max` events count in each `per`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    pub(crate) max: u32,
    pub(crate) per: Duration,
}

/// Stores the remaining budget as one time: the theoretical arrival time of the generic cell rate algorithm (GCRA).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateBudget {
    theoretical_arrival: Option<Instant>,
}

impl RateBudget {
    /// Counts one event against the budget. Returns `false` if the budget is exhausted.
    pub(crate) fn try_consume(&mut self, limit: RateLimit, now: Instant) -> bool {
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

    const LIMIT: RateLimit = RateLimit { max: 6, per: secs(60) };

    #[test]
    fn budget_allows_a_burst_and_then_one_per_interval() {
        let (mut budget, start) = (RateBudget::default(), Instant::now());
        let allowed = |budget: &mut RateBudget, at| budget.try_consume(LIMIT, start + secs(at));
        for _ in 0..6 {
            assert!(allowed(&mut budget, 0));
        }
        assert!(!allowed(&mut budget, 0));
        assert!(!allowed(&mut budget, 9));
        assert!(allowed(&mut budget, 10));
        assert!(!allowed(&mut budget, 19));
        assert!(allowed(&mut budget, 20));
        // After a long pause the whole burst is available, and no more.
        let counted = (0..100).filter(|_| allowed(&mut budget, 10_000)).count();
        assert_eq!(counted, 6);
    }

    #[test]
    fn budget_of_zero_allows_nothing() {
        let limit = RateLimit { max: 0, ..LIMIT };
        assert!(!RateBudget::default().try_consume(limit, Instant::now()));
    }
}
