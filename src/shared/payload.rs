//! [`Payload`]: the content of a record, in JSON.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{clock::Timestamp, expiry::Expiry, login::LoginError, token::AccessToken};

/// The pause after a permanent error. It doubles with each one that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause that an issuer can request. Refreshers have the same limit.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

const BEARER: &str = "bearer";
const RAW: &str = "raw";

/// The content of a record: a token, and why the last login failed if all processes have to pause.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    pub(super) token: Option<AgedToken>,
    pub(super) failure: Option<SharedFailure>,
}

/// A token whose lifetime, if it is known, counts from its request: its expiry is never [`Expiry::At`].
#[derive(Clone, Debug)]
pub(super) struct AgedToken {
    pub(super) token: AccessToken,
    /// The time since the token was requested.
    pub(super) age: Duration,
}

/// The error of a login after which all processes pause. Then one of them logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedFailure {
    pub(super) text: String,
    pub(super) is_permanent: bool,
    pub(super) age: Duration,
    /// The pause, counted from the error.
    pub(super) pause: Duration,
}

impl SharedFailure {
    /// Returns the pause after an error, if there is one: after a permanent error, or if the issuer requests it.
    ///
    /// `previous` is the error of the login before.
    pub(super) fn pause(error: &LoginError, previous: Option<&Self>) -> Option<Duration> {
        let requested = error.retry_after().map(|pause| pause.min(MAX_RETRY_AFTER));
        if !error.is_permanent() {
            return requested.filter(|pause| !pause.is_zero());
        }
        let previous = previous.filter(|previous| previous.is_permanent);
        let pause = previous.map_or(FIRST_PAUSE, |previous| {
            previous.pause.saturating_mul(2).clamp(FIRST_PAUSE, MAX_PAUSE)
        });
        Some(pause.max(requested.unwrap_or_default()))
    }

    /// Returns how long the pause still lasts.
    pub(super) fn remaining(&self) -> Duration {
        self.pause.saturating_sub(self.age)
    }
}

impl AgedToken {
    /// Creates one from the token of a login that was sent at `requested_at`. Its age is that at `now`.
    pub(super) fn of_login(token: AccessToken, requested_at: Timestamp, now: Timestamp) -> Self {
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

    /// Returns the time left until the token expires; `None` if its lifetime is not known.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.lifetime().map(|lifetime| lifetime.saturating_sub(self.age))
    }

    pub(super) fn is_live(&self) -> bool {
        self.remaining() != Some(Duration::ZERO)
    }
}

impl Payload {
    /// Returns the content of a record that has been in the store for this long.
    pub(super) fn aged(mut self, by: Duration) -> Self {
        if let Some(token) = &mut self.token {
            token.age = token.age.saturating_add(by);
        }
        if let Some(failure) = &mut self.failure {
            failure.age = failure.age.saturating_add(by);
        }
        self
    }

    /// Renders the payload. No copy of the secret is left in memory.
    pub(super) fn encode(&self) -> Option<Zeroizing<Vec<u8>>> {
        // JSON escapes a byte with 6 at most. The buffer does not grow, so it leaves no copy behind.
        let strings = self.token.as_ref().map_or(0, |token| token.token.secret().len())
            + self.failure.as_ref().map_or(0, |failure| failure.text.len());
        let mut buffer = Zeroizing::new(Vec::with_capacity(strings * 6 + 512));
        let content = Content {
            token: self.token.as_ref().map(TokenContent::of),
            failure: self.failure.as_ref().map(|failure| FailureContent {
                text: Cow::Borrowed(&failure.text),
                is_permanent: failure.is_permanent,
                age_ms: millis(failure.age),
                pause_ms: millis(failure.pause),
            }),
        };
        serde_json::to_writer(&mut *buffer, &content).ok()?;
        Some(buffer)
    }

    /// Parses a payload. The errors are not returned, because they can contain parts of it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let content: Content<'_> = serde_json::from_slice(bytes).ok()?;
        let token = match content.token {
            Some(token) => Some(token.parse()?),
            None => None,
        };
        let failure = content.failure.map(|failure| SharedFailure {
            text: failure.text.into_owned(),
            is_permanent: failure.is_permanent,
            age: Duration::from_millis(failure.age_ms),
            // Another process must not be able to end all logins.
            pause: Duration::from_millis(failure.pause_ms).min(MAX_RETRY_AFTER),
        });
        Some(Self { token, failure })
    }
}

#[derive(Serialize, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    token: Option<TokenContent<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureContent<'a>>,
}

/// Times are in milliseconds, counted from the request.
#[derive(Serialize, Deserialize)]
struct TokenContent<'a> {
    #[serde(borrow)]
    scheme: Cow<'a, str>,
    #[serde(borrow)]
    secret: Cow<'a, str>,
    age_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    never_expires: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unknown_age: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_in_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_deadline_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct FailureContent<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    is_permanent: bool,
    age_ms: u64,
    pause_ms: u64,
}

impl<'a> TokenContent<'a> {
    fn of(aged: &'a AgedToken) -> Self {
        let token = &aged.token;
        let is_raw = token.secret().len() == token.header_value().len();
        Self {
            scheme: Cow::Borrowed(if is_raw { RAW } else { BEARER }),
            secret: Cow::Borrowed(token.secret()),
            // Rounded up: a token is never younger than it is.
            age_ms: millis(aged.age).saturating_add(1),
            lifetime_ms: aged.lifetime().map(millis),
            never_expires: token.expiry() == Expiry::Never,
            unknown_age: token.has_unknown_age(),
            refresh_in_ms: token.refresh_in().map(millis),
            refresh_deadline_ms: token.refresh_deadline().map(millis),
        }
    }

    fn parse(&self) -> Option<AgedToken> {
        let token = match &*self.scheme {
            BEARER => AccessToken::bearer(&*self.secret),
            RAW => AccessToken::raw(&*self.secret),
            _ => return None,
        };
        let mut token = token.ok()?.with_expiry(match self.lifetime_ms {
            Some(lifetime) => Expiry::In(Duration::from_millis(lifetime)),
            None if self.never_expires => Expiry::Never,
            None => Expiry::Unknown,
        });
        if self.unknown_age {
            token = token.with_unknown_age();
        }
        if let Some(after) = self.refresh_in_ms {
            token = token.with_refresh_in(Duration::from_millis(after));
        }
        if let Some(deadline) = self.refresh_deadline_ms {
            token = token.with_refresh_deadline(Duration::from_millis(deadline));
        }
        Some(AgedToken { token, age: Duration::from_millis(self.age_ms) })
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn copy(payload: &Payload) -> Payload {
        Payload::decode(&payload.encode().unwrap()).unwrap()
    }

    fn with(token: AccessToken) -> Payload {
        Payload { token: Some(AgedToken { token, age: secs(7) }), failure: None }
    }

    #[test]
    fn token_is_the_same_in_another_process() {
        let bearer = || AccessToken::bearer(r#"a"b\c"#).unwrap();
        for token in [
            bearer(),
            AccessToken::raw("token 0a1b2c").unwrap(),
            AccessToken::raw("Bearer abc").unwrap(),
            bearer().with_expires_in(secs(3600)),
            bearer().with_expires_in(Duration::ZERO),
            bearer().with_expiry(Expiry::Never).with_refresh_in(secs(60)),
            bearer().with_unknown_age().with_refresh_deadline(secs(1800)),
        ] {
            let AgedToken { token: shared, age } = copy(&with(token.clone())).token.unwrap();
            assert_eq!(shared.header_value(), token.header_value());
            assert!(shared.header_value().is_sensitive());
            assert_eq!(shared.secret(), token.secret());
            assert_eq!(shared.expiry(), token.expiry());
            assert_eq!(shared.refresh_in(), token.refresh_in());
            assert_eq!(shared.refresh_deadline(), token.refresh_deadline());
            assert_eq!(shared.has_unknown_age(), token.has_unknown_age());
            assert!(age >= secs(7) && age < secs(8), "{age:?}");
        }
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
        let aged = AgedToken::of_login(token.clone(), requested_at, now);
        assert_eq!((aged.lifetime(), aged.remaining()), (Some(secs(600)), Some(secs(598))));
        // Another login requested the token.
        let aged = AgedToken::of_login(token.clone().with_age(secs(60)), requested_at, now);
        assert_eq!(aged.remaining(), Some(secs(598)));
        assert!(aged.lifetime() > Some(secs(650)));
        let expired = token.with_expiry(Expiry::At(SystemTime::UNIX_EPOCH));
        let aged = AgedToken::of_login(expired, requested_at, now);
        assert_eq!(aged.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn age_in_the_store_is_added() {
        let failure = SharedFailure {
            text: "wrong password".to_owned(),
            is_permanent: true,
            age: secs(1),
            pause: secs(5),
        };
        let payload =
            Payload { failure: Some(failure.clone()), ..with(AccessToken::bearer("abc").unwrap()) };
        let payload = copy(&payload).aged(secs(100));
        assert_eq!(payload.failure, Some(SharedFailure { age: secs(101), ..failure }));
        assert!(payload.token.unwrap().age >= secs(107));
    }

    #[test]
    fn pause_doubles_with_each_permanent_error_up_to_a_minute() {
        let error = LoginError::permanent("wrong password");
        let mut previous: Option<SharedFailure> = None;
        for expected in [5, 10, 20, 40, 60, 60] {
            let pause = SharedFailure::pause(&error, previous.as_ref()).unwrap();
            assert_eq!(pause, secs(expected));
            let text = String::new();
            previous = Some(SharedFailure { text, is_permanent: true, age: pause, pause });
        }
        let busy = LoginError::transient("too many requests");
        assert_eq!(SharedFailure::pause(&busy, previous.as_ref()), None);
        for (requested, expected) in [(0, None), (7, Some(secs(7))), (9999, Some(secs(300)))] {
            let busy = busy.clone().with_retry_after(secs(requested));
            assert_eq!(SharedFailure::pause(&busy, previous.as_ref()), expected);
        }
        let error = error.with_retry_after(secs(90));
        assert_eq!(SharedFailure::pause(&error, None), Some(secs(90)));
    }

    #[test]
    fn invalid_payload_is_not_parsed() {
        for text in [
            "",
            "7",
            r#"{"token":{}}"#,
            r#"{"token":{"scheme":"dpop","secret":"abc","age_ms":0}}"#,
            r#"{"token":{"scheme":"bearer","secret":"a\nb","age_ms":0}}"#,
            r#"{"token":{"scheme":"bearer","secret":"abc","age_ms":-1}}"#,
        ] {
            assert!(Payload::decode(text.as_bytes()).is_none(), "{text}");
        }
        // A later version can add fields.
        let later = r#"{"token":{"scheme":"bearer","secret":"abc","age_ms":0,"new":1},"more":[]}"#;
        assert!(Payload::decode(later.as_bytes()).is_some());
    }

    #[test]
    fn encoding_does_not_move_the_secret_in_memory() {
        let token = AccessToken::bearer("\"".repeat(4000)).unwrap();
        let text = "\u{1}".repeat(500);
        let failure = SharedFailure { text, is_permanent: false, age: secs(1), pause: secs(60) };
        let failure = Some(failure);
        let payload = Payload { failure, ..with(token.with_expires_in(Duration::MAX)) };
        let encoded = payload.encode().unwrap();
        assert_eq!(encoded.capacity(), (4000 + 500) * 6 + 512);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", with(AccessToken::bearer("s3cr3t").unwrap()));
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_payload_or_none(bytes: Vec<u8>) {
            let _ = Payload::decode(&bytes);
        }

        #[test]
        fn any_times_survive_encoding(age: Duration, lifetime: Duration) {
            let token = AccessToken::bearer("abc").unwrap().with_expires_in(lifetime);
            let payload = Payload { token: Some(AgedToken { token, age }), failure: None };
            let shared = copy(&payload).aged(age).token.unwrap();
            prop_assert!(shared.lifetime().unwrap() <= lifetime);
            prop_assert!(millis(shared.age) >= millis(age));
        }
    }
}
