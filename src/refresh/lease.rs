//! A token in use, anchored to the moment its login was sent.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::schedule::{self, Schedule};
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
    pub(crate) generation: u64,
    pub(crate) sent: Moment,
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
        Self { token: token.with_expiry(expiry), generation, sent, lifetime, refresh, grace: schedule.serve_stale }
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

    /// Whether it ends later than `other`, by more than a rounded-off second.
    pub(crate) fn outlives(&self, other: &Lease, now: Moment) -> bool {
        match (self.until_expired(now), other.until_expired(now)) {
            (Some(left), Some(other)) => left > other.saturating_add(Duration::from_secs(1)),
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }
}
