//! [`AgedToken`]: a token with its age, which processes share.

use std::time::Duration;

use crate::{clock::Timestamp, expiry::Expiry, token::AccessToken};

/// A token and its age. A known lifetime counts from the request, so the expiry is never [`Expiry::At`].
#[derive(Clone, Debug)]
pub(super) struct AgedToken {
    pub(super) token: AccessToken,
    /// The time since the token was requested.
    pub(super) age: Duration,
}

impl AgedToken {
    /// Creates one from the token of a login that was requested at `requested_at`. The age is that at `now`.
    pub(super) fn from_login(token: AccessToken, requested_at: Timestamp, now: Timestamp) -> Self {
        let own_age = || requested_at.elapsed_at(now);
        let age = token.age().map_or_else(own_age, |age| age.since_request(now.monotonic));
        let Expiry::At(expires) = token.expiry() else { return Self { token, age } };
        let remaining = expires.duration_since(now.wall).unwrap_or_default();
        let lifetime = remaining.saturating_add(age);
        let lifetime = token.max_lifetime().map_or(lifetime, |max| lifetime.min(max));
        Self { token: token.with_absolute_expiry(Expiry::In(lifetime)), age }
    }

    pub(super) fn lifetime(&self) -> Option<Duration> {
        match self.token.expiry() {
            Expiry::In(lifetime) => Some(lifetime),
            _ => None,
        }
    }

    /// Returns the time until the token expires. `None`: the lifetime is unknown.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.lifetime().map(|lifetime| lifetime.saturating_sub(self.age))
    }

    pub(super) fn is_live(&self) -> bool {
        self.remaining() != Some(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn absolute_expiry_becomes_a_lifetime_by_the_clock_of_its_process() {
        let requested_at = Timestamp {
            wall: SystemTime::UNIX_EPOCH + secs(1_800_000_000),
            monotonic: Instant::now(),
        };
        let now = Timestamp {
            wall: requested_at.wall + secs(2),
            monotonic: requested_at.monotonic + secs(2),
        };
        let token = AccessToken::bearer("abc").unwrap();
        let token = token.with_expiry(Expiry::At(requested_at.wall + secs(600)));
        let aged = AgedToken::from_login(token.clone(), requested_at, now);
        assert_eq!((aged.lifetime(), aged.remaining()), (Some(secs(600)), Some(secs(598))));
        // Another login requested the token.
        let aged = AgedToken::from_login(token.clone().with_age(secs(60)), requested_at, now);
        assert_eq!(aged.remaining(), Some(secs(598)));
        assert!(aged.lifetime() > Some(secs(650)));
        let expired = token.with_expiry(Expiry::At(SystemTime::UNIX_EPOCH));
        let aged = AgedToken::from_login(expired, requested_at, now);
        assert_eq!(aged.remaining(), Some(Duration::ZERO));
    }
}
