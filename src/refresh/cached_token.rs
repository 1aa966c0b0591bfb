//! A token with its timeline, anchored to when its login was sent.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    schedule::{self, Schedule},
    sharded_header::ShardedHeader,
};
use crate::{clock::Timestamp, expiry::Expiry, token::AccessToken};

/// A wall clock that has advanced this much further than the monotonic clock has jumped.
const JUMP: Duration = Duration::from_millis(100);

/// A published token. Its times are ages: durations since `requested_at`.
#[derive(Debug)]
pub(crate) struct CachedToken {
    pub(crate) token: AccessToken,
    /// The token's header value, for requests.
    pub(crate) header: ShardedHeader,
    pub(crate) generation: u64,
    pub(crate) requested_at: Timestamp,
    /// When the issuer returned the token; `None` if the token may be older than its login.
    received_at: Option<Timestamp>,
    /// `None`: the token has no known expiry.
    lifetime: Option<Duration>,
    refresh_age: Option<Duration>,
    /// How long after its expiry the token can still be used.
    max_stale: Duration,
}

impl CachedToken {
    /// Computes the timeline of a token whose login was sent at `requested_at` and returned at `received_at`. The
    /// timeline of a token that another login requested starts at that request.
    pub(crate) fn new(
        token: AccessToken,
        generation: u64,
        requested_at: Timestamp,
        received_at: Timestamp,
        schedule: &Schedule,
        random: f64,
    ) -> Self {
        let anchor = Anchor::new(&token, requested_at, received_at);
        let lifetime = lifetime(&token, &anchor, schedule);
        let Anchor { requested_at, elapsed } = anchor;
        let expiry = match (token.expiry(), lifetime) {
            (Expiry::In(_), Some(lifetime)) => {
                let remaining = lifetime.saturating_sub(elapsed);
                requested_at.wall.checked_add(remaining).map_or(Expiry::Never, Expiry::At)
            }
            (expiry, _) => expiry,
        };
        let refresh_age = schedule::refresh_age(schedule, lifetime, token.refresh_in(), random);
        // A quarter of the time is left for retries.
        let before_deadline = token.refresh_deadline().map(|deadline| deadline / 4 * 3);
        let refresh_age = refresh_age.into_iter().chain(before_deadline).min();
        let since_response =
            token.age().map(|age| age.since_response(received_at.monotonic)).unwrap_or_default();
        let received_at =
            received_at.checked_sub(since_response).filter(|_| !token.has_unknown_age());
        Self {
            header: ShardedHeader::new(token.header_value().clone()),
            generation,
            requested_at,
            received_at,
            lifetime: lifetime.map(|lifetime| lifetime.saturating_sub(elapsed)),
            refresh_age: refresh_age.map(|age| age.saturating_sub(elapsed)),
            max_stale: schedule.max_stale,
            token: token.with_absolute_expiry(expiry),
        }
    }

    /// Returns the token with a new anchor, if the wall clock has advanced further than the monotonic clock since its
    /// login.
    ///
    /// With the new anchor, the monotonic clock alone determines when the token expires. A request that checks the
    /// expiry reads no other clock.
    pub(crate) fn reanchored(&self, now: Timestamp) -> Option<Self> {
        let wall = now.wall.duration_since(self.requested_at.wall).ok()?;
        let monotonic = now.monotonic.saturating_duration_since(self.requested_at.monotonic);
        if wall.saturating_sub(monotonic) < JUMP {
            return None;
        }
        let requested_at =
            Timestamp { monotonic: now.monotonic.checked_sub(wall)?, ..self.requested_at };
        Some(Self {
            token: self.token.clone(),
            header: ShardedHeader::new(self.token.header_value().clone()),
            requested_at,
            ..*self
        })
    }

    /// Returns when the token expires, by the wall clock; `None` if it has no known expiry.
    pub(crate) fn wall_expiry(&self) -> Option<SystemTime> {
        self.requested_at.wall.checked_add(self.lifetime?)
    }

    /// Returns when the token becomes unusable, by the monotonic clock; `None` if it never does.
    pub(crate) fn unusable_at(&self) -> Option<Instant> {
        self.requested_at.monotonic.checked_add(self.lifetime?)?.checked_add(self.max_stale)
    }

    /// Returns whether the token was issued less than `min_age` ago. For a short lifetime, the minimum is an eighth of
    /// it.
    pub(crate) fn is_too_new(&self, min_age: Duration, now: Timestamp) -> bool {
        let min_age = self.lifetime.map_or(min_age, |lifetime| min_age.min(lifetime / 8));
        self.received_at.is_some_and(|received_at| received_at.elapsed_at(now) < min_age)
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.until_expired(now) == Some(Duration::ZERO)
    }

    /// Returns whether the token can no longer be used, not even as a stale one.
    pub(crate) fn is_unusable(&self, now: Timestamp) -> bool {
        self.until_unusable(now) == Some(Duration::ZERO)
    }

    /// Returns the time left until the refresh is due: zero if it is due now, `None` if it never is.
    pub(crate) fn until_refresh(&self, now: Timestamp) -> Option<Duration> {
        // The source reports the next token by itself, and knows when this one expires.
        if self.token.source_notifies() && self.token.expiry() != Expiry::Unknown {
            return None;
        }
        self.until(self.refresh_age, now)
    }

    /// Returns the time left until the token expires; `None` if it has no known expiry.
    pub(crate) fn until_expired(&self, now: Timestamp) -> Option<Duration> {
        self.until(self.lifetime, now)
    }

    pub(crate) fn until_unusable(&self, now: Timestamp) -> Option<Duration> {
        self.until(self.lifetime.map(|lifetime| lifetime.saturating_add(self.max_stale)), now)
    }

    fn until(&self, age: Option<Duration>, now: Timestamp) -> Option<Duration> {
        age.map(|age| age.saturating_sub(self.requested_at.elapsed_at(now)))
    }

    /// Returns whether less than a quarter of the lifetime has passed, so that a refresh gains little.
    pub(crate) fn is_in_first_quarter(&self, now: Timestamp) -> bool {
        self.lifetime.is_some_and(|lifetime| self.requested_at.elapsed_at(now) < lifetime / 4)
    }

    /// Returns whether the token expires later than `other`, by more than a rounding error of one second.
    pub(crate) fn expires_after(&self, other: &CachedToken, now: Timestamp) -> bool {
        match (self.until_expired(now), other.until_expired(now)) {
            (Some(remaining), Some(other)) => {
                remaining > other.saturating_add(Duration::from_secs(1))
            }
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }
}

/// Where a token's timeline starts.
struct Anchor {
    requested_at: Timestamp,
    /// How much of the timeline has passed at its start: zero, unless a clock cannot represent an earlier time.
    elapsed: Duration,
}

impl Anchor {
    fn new(token: &AccessToken, requested_at: Timestamp, received_at: Timestamp) -> Self {
        let Some(age) = token.age() else { return Self { requested_at, elapsed: Duration::ZERO } };
        let age = age.since_request(received_at.monotonic);
        match received_at.checked_sub(age) {
            Some(requested_at) => Self { requested_at, elapsed: Duration::ZERO },
            None => Self { requested_at: received_at, elapsed: age },
        }
    }
}

/// Returns how long a token lives after its login was sent; `None` if it has no known expiry.
fn lifetime(token: &AccessToken, anchor: &Anchor, schedule: &Schedule) -> Option<Duration> {
    match token.expiry() {
        Expiry::In(lifetime) => Some(lifetime),
        Expiry::At(expires) => {
            // The time from the request to the expiry. The anchor can be later than the request.
            let lifetime = match expires.duration_since(anchor.requested_at.wall) {
                Ok(remaining) => remaining.saturating_add(anchor.elapsed),
                Err(expired) => anchor.elapsed.saturating_sub(expired.duration()),
            };
            Some(token.max_lifetime().map_or(lifetime, |max_lifetime| lifetime.min(max_lifetime)))
        }
        Expiry::Never => None,
        Expiry::Unknown => schedule.default_lifetime,
    }
}

/// Returns whether a token was valid when its login was sent, and has expired since.
pub(crate) fn expired_during_login(
    token: &AccessToken,
    requested_at: Timestamp,
    now: Timestamp,
    schedule: &Schedule,
) -> bool {
    let anchor = Anchor::new(token, requested_at, now);
    lifetime(token, &anchor, schedule).is_some_and(|lifetime| {
        lifetime > Duration::ZERO
            && lifetime.saturating_sub(anchor.elapsed) <= anchor.requested_at.elapsed_at(now)
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::refresh::schedule::tests::schedule;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn start() -> Timestamp {
        Timestamp { wall: SystemTime::UNIX_EPOCH + secs(1_800_000_000), monotonic: Instant::now() }
    }

    fn cached(expiry: Expiry, requested_at: Timestamp) -> CachedToken {
        let token = AccessToken::bearer("abc").unwrap().with_expiry(expiry);
        CachedToken::new(token, 1, requested_at, requested_at, &schedule(), 0.0)
    }

    /// Returns a timestamp at which each clock has advanced by this many seconds.
    fn later(start: Timestamp, wall: i64, monotonic: u64) -> Timestamp {
        let distance = secs(wall.unsigned_abs());
        let wall = if wall < 0 { start.wall - distance } else { start.wall + distance };
        Timestamp { wall, monotonic: start.monotonic + secs(monotonic) }
    }

    #[test]
    fn token_expires_at_its_expiry_and_not_before() {
        let start = start();
        for expiry in [Expiry::In(secs(3600)), Expiry::At(start.wall + secs(3600))] {
            let token = cached(expiry, start);
            assert_eq!(token.token.expiry(), Expiry::At(start.wall + secs(3600)));
            assert!(!token.is_expired(later(start, 3599, 3599)));
            assert!(token.is_expired(later(start, 3600, 3600)));
            assert!(token.is_unusable(later(start, 3600, 3600)));
            assert_eq!(token.until_refresh(later(start, 3299, 3299)), Some(secs(1)));
            assert_eq!(token.until_refresh(later(start, 3301, 3301)), Some(Duration::ZERO));
        }
    }

    #[test]
    fn stale_token_is_usable_for_max_stale() {
        let schedule = Schedule { max_stale: secs(60), ..schedule() };
        let token = AccessToken::bearer("abc").unwrap().with_expires_in(secs(100));
        let start = start();
        let token = CachedToken::new(token, 1, start, start, &schedule, 0.0);
        assert_eq!(
            token.token.expiry(),
            Expiry::At(start.wall + secs(100)),
            "the real expiry is not altered"
        );
        assert!(token.is_expired(later(start, 100, 100)));
        assert!(!token.is_unusable(later(start, 159, 159)));
        assert!(token.is_unusable(later(start, 160, 160)));
    }

    #[test]
    fn jump_of_the_wall_clock_moves_the_monotonic_deadline() {
        // The monotonic clock must not be younger than the jump.
        let start = later(start(), 0, 7200);
        let token = cached(Expiry::In(secs(3600)), start);
        assert!(token.reanchored(later(start, 10, 10)).is_none());
        assert!(token.reanchored(later(start, -100, 10)).is_none());
        let now = later(start, 1810, 10);
        let reanchored = token.reanchored(now).unwrap();
        assert_eq!(reanchored.unusable_at(), Some(now.monotonic + secs(1790)));
        assert_eq!(reanchored.until_expired(now), token.until_expired(now));
        assert_eq!(reanchored.wall_expiry(), token.wall_expiry());
        assert!(reanchored.reanchored(now).is_none());
    }

    #[test]
    fn extreme_expiry_does_not_overflow() {
        let start = start();
        let soon = later(start, 1, 1);
        for expiry in
            [Expiry::In(Duration::MAX), Expiry::In(secs(u64::MAX)), Expiry::Never, Expiry::Unknown]
        {
            let token = cached(expiry, start);
            assert!(!token.is_expired(soon), "{expiry:?}");
        }
        assert_eq!(cached(Expiry::In(Duration::MAX), start).token.expiry(), Expiry::Never);
        assert!(cached(Expiry::At(SystemTime::UNIX_EPOCH), start).is_expired(start));
        assert!(cached(Expiry::In(Duration::ZERO), start).is_expired(start));
    }

    #[cfg(feature = "token-file")]
    #[test]
    fn slow_local_clock_does_not_extend_a_stored_token() {
        let start = start();
        let token =
            AccessToken::bearer("abc").unwrap().with_expiry(Expiry::At(start.wall + secs(7200)));
        let token = token.with_max_lifetime(Some(secs(3600)));
        let token = CachedToken::new(token, 1, start, start, &schedule(), 0.0);
        assert_eq!(token.until_expired(start), Some(secs(3600)));
    }

    #[test]
    fn unknown_expiry_uses_default_lifetime() {
        let schedule = Schedule { default_lifetime: Some(secs(900)), ..schedule() };
        let start = start();
        let token =
            CachedToken::new(AccessToken::bearer("abc").unwrap(), 1, start, start, &schedule, 0.0);
        assert_eq!(token.until_expired(start), Some(secs(900)));
        assert_eq!(token.token.expiry(), Expiry::Unknown);
        let never = AccessToken::bearer("abc").unwrap().with_expiry(Expiry::Never);
        assert_eq!(
            CachedToken::new(never, 1, start, start, &schedule, 0.0).until_expired(start),
            None
        );
    }

    #[test]
    fn token_is_too_new_for_an_eighth_of_a_short_life() {
        let start = start();
        for (expiry, too_new) in
            [(Expiry::In(secs(3600)), 1000), (Expiry::In(secs(2)), 250), (Expiry::Never, 1000)]
        {
            let token = cached(expiry, start);
            let at = |millis| Timestamp {
                monotonic: start.monotonic + Duration::from_millis(millis),
                ..start
            };
            assert!(token.is_too_new(secs(1), at(too_new - 1)), "{expiry:?}");
            assert!(!token.is_too_new(secs(1), at(too_new)), "{expiry:?}");
        }
    }

    #[test]
    fn token_of_unknown_age_is_never_too_new() {
        let start = start();
        let token = AccessToken::bearer("abc").unwrap().with_unknown_age();
        assert!(
            !CachedToken::new(token, 1, start, start, &schedule(), 0.0).is_too_new(secs(1), start)
        );
    }

    #[test]
    fn token_keeps_the_age_it_had_at_its_login() {
        // Before the age is declared, so that it does not grow.
        let start = start();
        let aged = |age, expiry| {
            let token = AccessToken::bearer("abc").unwrap().with_expiry(expiry).with_age(age);
            CachedToken::new(token, 1, start, start, &schedule(), 0.0)
        };
        let token = aged(secs(600), Expiry::In(secs(3600)));
        assert_eq!(token.until_expired(start), Some(secs(3000)));
        assert_eq!(token.until_refresh(start), Some(secs(2700)));
        assert_eq!(token.token.expiry(), Expiry::At(start.wall + secs(3000)));
        assert!(!token.is_too_new(secs(1), start), "it is as old as it is in the first process");
        let new = aged(Duration::ZERO, Expiry::In(secs(3600)));
        assert!(new.is_too_new(secs(1), start));
        assert!(aged(secs(3600), Expiry::In(secs(3600))).is_expired(start));
        assert!(aged(secs(3601), Expiry::In(secs(3600))).is_expired(start));
        assert!(!aged(secs(3601), Expiry::Never).is_expired(start));
    }

    #[test]
    fn age_before_the_clocks_start_shortens_the_lifetime() {
        let start = Timestamp { wall: SystemTime::UNIX_EPOCH, ..start() };
        // A time that no clock can represent.
        let age = secs(u64::MAX - 3600);
        assert!(start.checked_sub(age).is_none());
        let token = AccessToken::bearer("abc").unwrap();
        let token = token.with_expires_in(age + secs(3600)).with_age(age);
        let token = CachedToken::new(token, 1, start, start, &schedule(), 0.0);
        assert_eq!(token.until_expired(start), Some(secs(3600)));
        assert!(!token.is_too_new(secs(1), start));
    }

    #[test]
    fn age_before_the_clocks_start_does_not_shorten_an_absolute_expiry() {
        let start = start();
        // A time that no clock can represent.
        let age = secs(u64::MAX - 3600);
        assert!(start.checked_sub(age).is_none());
        let token = |expires| {
            let token = AccessToken::bearer("abc").unwrap().with_expiry(Expiry::At(expires));
            token.with_age(age)
        };
        let cached = |expires| CachedToken::new(token(expires), 1, start, start, &schedule(), 0.0);
        assert_eq!(cached(start.wall + secs(1800)).until_expired(start), Some(secs(1800)));
        assert!(cached(start.wall - secs(1)).is_expired(start));
        let is_late = |expires| expired_during_login(&token(expires), start, start, &schedule());
        assert!(!is_late(start.wall + secs(1800)));
        assert!(is_late(start.wall - secs(1)), "it was valid at the request");
    }

    #[test]
    fn longer_lived_token_expires_over_a_second_later() {
        let start = start();
        let of = |secs_left| cached(Expiry::In(secs(secs_left)), start);
        assert!(of(102).expires_after(&of(100), start));
        assert!(!of(101).expires_after(&of(100), start));
        assert!(!of(99).expires_after(&of(100), start));
        let never = cached(Expiry::Never, start);
        assert!(never.expires_after(&of(100), start));
        assert!(!of(100).expires_after(&never, start));
        assert!(!never.expires_after(&never, start));
    }

    #[test]
    fn first_quarter_ends_after_a_quarter_of_the_lifetime() {
        let start = Timestamp { wall: SystemTime::UNIX_EPOCH, monotonic: Instant::now() };
        let token = AccessToken::bearer("abc").unwrap().with_expires_in(Duration::from_secs(1000));
        let token = CachedToken::new(token, 1, start, start, &schedule(), 0.0);
        for (age, expected) in [(0, true), (249, true), (250, false), (999, false)] {
            let age = Duration::from_secs(age);
            let now = Timestamp { wall: start.wall + age, monotonic: start.monotonic + age };
            assert_eq!(token.is_in_first_quarter(now), expected, "{age:?}");
        }
    }
}
