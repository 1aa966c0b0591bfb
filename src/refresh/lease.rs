//! A token in use, anchored to the moment its login was sent.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    copies::Copies,
    schedule::{self, Schedule},
};
use crate::{AccessToken, Clock, Expiry};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) wall: SystemTime,
    pub(crate) monotonic: Instant,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), monotonic: Instant::now() }
    }

    /// How long ago `self` was, by whichever clock says longer: the monotonic one stands still while a machine sleeps,
    /// the wall clock can be set back.
    pub(crate) fn age(self, now: Moment) -> Duration {
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        wall.max(now.monotonic.saturating_duration_since(self.monotonic))
    }
}

/// A published token. Its times are ages: how long after `sent`.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) token: AccessToken,
    /// The token's header value, for requests.
    pub(crate) header: Copies,
    pub(crate) generation: u64,
    pub(crate) sent: Moment,
    /// When the token came.
    received: Moment,
    /// `None`: no end is known.
    lifetime: Option<Duration>,
    refresh: Option<Duration>,
    /// How long after its end the token may still be used.
    grace: Duration,
}

impl Lease {
    /// Works out the ends of a token whose login was sent at `sent`.
    pub(crate) fn new(token: AccessToken, generation: u64, sent: Moment, schedule: &Schedule, draw: f64) -> Self {
        let lifetime = match token.expiry() {
            Expiry::In(lifetime) => Some(lifetime),
            Expiry::At(end) => Some(end.duration_since(sent.wall).unwrap_or_default()),
            Expiry::Never => None,
            Expiry::Unknown => schedule.default_lifetime,
        };
        let refresh = schedule::refresh_age(schedule, lifetime, token.refresh_in(), draw);
        let expiry = match (token.expiry(), lifetime) {
            (Expiry::In(_), Some(lifetime)) => sent.wall.checked_add(lifetime).map_or(Expiry::Never, Expiry::At),
            (as_said, _) => as_said,
        };
        Self {
            header: Copies::of(token.header_value()),
            token: token.ending(expiry),
            generation,
            sent,
            received: sent,
            lifetime,
            refresh,
            grace: schedule.serve_stale,
        }
    }

    /// The same, come at `now`.
    pub(crate) fn received_at(self, now: Moment) -> Self {
        Self { received: now, ..self }
    }

    /// When the token ends, by the wall clock; `None` if it has no known end.
    pub(crate) fn end(&self) -> Option<SystemTime> {
        self.sent.wall.checked_add(self.lifetime?)
    }

    /// How long the token has been in use.
    pub(crate) fn time_in_use(&self, now: Moment) -> Duration {
        self.received.age(now)
    }

    /// From what age a rejection of it counts: `min_age`, but of a short life no more than an eighth.
    pub(crate) fn min_rejection_age(&self, min_age: Duration) -> Duration {
        self.lifetime.map_or(min_age, |lifetime| min_age.min(lifetime / 8))
    }

    /// Whether the token's life has ended.
    pub(crate) fn is_expired(&self, now: Moment) -> bool {
        self.until_expired(now) == Some(Duration::ZERO)
    }

    /// Whether the token may be used no more.
    pub(crate) fn is_unusable(&self, now: Moment) -> bool {
        self.until_unusable(now) == Some(Duration::ZERO)
    }

    /// How long until the token is to be refreshed; zero if that time has come, `None` if it never does.
    pub(crate) fn until_refresh(&self, now: Moment) -> Option<Duration> {
        // Its source will tell, and does know its end.
        if self.token.is_watched() && self.token.expiry() != Expiry::Unknown {
            return None;
        }
        self.until(self.refresh, now)
    }

    /// How long until the token ends; `None` if it has no known end.
    pub(crate) fn until_expired(&self, now: Moment) -> Option<Duration> {
        self.until(self.lifetime, now)
    }

    pub(crate) fn until_unusable(&self, now: Moment) -> Option<Duration> {
        self.until(self.lifetime.map(|lifetime| lifetime.saturating_add(self.grace)), now)
    }

    fn until(&self, age: Option<Duration>, now: Moment) -> Option<Duration> {
        age.map(|age| age.saturating_sub(self.sent.age(now)))
    }

    /// Whether another token would hardly live longer.
    pub(crate) fn is_young(&self, now: Moment) -> bool {
        self.lifetime.is_some_and(|lifetime| self.sent.age(now) < lifetime / 4)
    }

    /// Whether it ends later than `other`, by more than a rounded-off second.
    pub(crate) fn outlives(&self, other: &Lease, now: Moment) -> bool {
        match (self.until_expired(now), other.until_expired(now)) {
            (Some(left), Some(other)) => left > other.saturating_add(Duration::from_secs(1)),
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::schedule::tests::schedule, *};

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn start() -> Moment {
        Moment { wall: SystemTime::UNIX_EPOCH + secs(1_800_000_000), monotonic: Instant::now() }
    }

    fn lease(expiry: Expiry, sent: Moment) -> Lease {
        Lease::new(AccessToken::bearer("abc").unwrap().with_expiry(expiry), 1, sent, &schedule(), 0.0)
    }

    /// Each clock by so many seconds later.
    fn later(moment: Moment, wall: i64, monotonic: u64) -> Moment {
        let distance = secs(wall.unsigned_abs());
        let wall = if wall < 0 { moment.wall - distance } else { moment.wall + distance };
        Moment { wall, monotonic: moment.monotonic + secs(monotonic) }
    }

    #[test]
    fn the_clock_that_says_longer_is_right() {
        let sent = start();
        for (wall, monotonic, age) in [(10, 10, 10), (18_000, 0, 18_000), (0, 7, 7), (-3600, 7, 7), (7, 0, 7)] {
            assert_eq!(sent.age(later(sent, wall, monotonic)), secs(age), "{wall} {monotonic}");
        }
        assert_eq!(later(sent, 0, 5).age(sent), Duration::ZERO);
    }

    #[test]
    fn a_token_ends_at_its_end_and_not_before() {
        let sent = start();
        for expiry in [Expiry::In(secs(3600)), Expiry::At(sent.wall + secs(3600))] {
            let lease = lease(expiry, sent);
            assert_eq!(lease.token.expiry(), Expiry::At(sent.wall + secs(3600)));
            assert!(!lease.is_expired(later(sent, 3599, 3599)));
            assert!(lease.is_expired(later(sent, 3600, 3600)));
            assert!(lease.is_unusable(later(sent, 3600, 3600)));
            assert_eq!(lease.until_refresh(later(sent, 3299, 3299)), Some(secs(1)));
            assert_eq!(lease.until_refresh(later(sent, 3301, 3301)), Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_token_that_may_be_used_on_is_unusable_later() {
        let schedule = Schedule { serve_stale: secs(60), ..schedule() };
        let token = AccessToken::bearer("abc").unwrap().with_expires_in(secs(100));
        let sent = start();
        let lease = Lease::new(token, 1, sent, &schedule, 0.0);
        assert_eq!(lease.token.expiry(), Expiry::At(sent.wall + secs(100)), "the real expiry is not altered");
        assert!(lease.is_expired(later(sent, 100, 100)));
        assert!(!lease.is_unusable(later(sent, 159, 159)));
        assert!(lease.is_unusable(later(sent, 160, 160)));
    }

    #[test]
    fn no_expiry_overflows() {
        let sent = start();
        let soon = later(sent, 1, 1);
        for expiry in [Expiry::In(Duration::MAX), Expiry::In(secs(u64::MAX)), Expiry::Never, Expiry::Unknown] {
            let lease = lease(expiry, sent);
            assert!(!lease.is_expired(soon), "{expiry:?}");
        }
        assert_eq!(lease(Expiry::In(Duration::MAX), sent).token.expiry(), Expiry::Never);
        assert!(lease(Expiry::At(SystemTime::UNIX_EPOCH), sent).is_expired(sent));
        assert!(lease(Expiry::In(Duration::ZERO), sent).is_expired(sent));
    }

    #[test]
    fn an_unknown_expiry_lasts_for_the_default_lifetime() {
        let schedule = Schedule { default_lifetime: Some(secs(900)), ..schedule() };
        let sent = start();
        let lease = Lease::new(AccessToken::bearer("abc").unwrap(), 1, sent, &schedule, 0.0);
        assert_eq!(lease.until_expired(sent), Some(secs(900)));
        assert_eq!(lease.token.expiry(), Expiry::Unknown);
        let never = AccessToken::bearer("abc").unwrap().with_expiry(Expiry::Never);
        assert_eq!(Lease::new(never, 1, sent, &schedule, 0.0).until_expired(sent), None);
    }

    #[test]
    fn a_short_life_is_not_spent_too_young_to_be_rejected() {
        let of = |expiry| lease(expiry, start()).min_rejection_age(secs(1));
        assert_eq!(of(Expiry::In(secs(3600))), secs(1));
        assert_eq!(of(Expiry::In(secs(2))), Duration::from_millis(250));
        assert_eq!(of(Expiry::Never), secs(1));
    }

    #[test]
    fn one_token_outlives_another_by_more_than_a_second() {
        let sent = start();
        let of = |secs_left| lease(Expiry::In(secs(secs_left)), sent);
        assert!(of(102).outlives(&of(100), sent));
        assert!(!of(101).outlives(&of(100), sent));
        assert!(!of(99).outlives(&of(100), sent));
        let never = lease(Expiry::Never, sent);
        assert!(never.outlives(&of(100), sent));
        assert!(!of(100).outlives(&never, sent));
        assert!(!never.outlives(&never, sent));
    }
}
