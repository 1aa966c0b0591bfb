//! [`Payload`]: the content of a record, in JSON.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Revision,
    aged_token::AgedToken,
    failure::{MAX_FAILURE_PAUSE, SharedFailure},
};
use crate::{expiry::Expiry, token::AccessToken};

const BEARER: &str = "bearer";
const RAW: &str = "raw";

/// The content of a record: a token, and the error of the last login during its failure pause.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    pub(super) token: Option<AgedToken>,
    /// The revision of the first record with the token, if an error was put beside it since.
    pub(super) token_revision: Option<Revision>,
    pub(super) failure: Option<SharedFailure>,
}

impl Payload {
    /// Adds the time in the store to the ages.
    pub(super) fn aged(mut self, by: Duration) -> Self {
        if let Some(token) = &mut self.token {
            token.age = token.age.saturating_add(by);
        }
        if let Some(failure) = &mut self.failure {
            failure.age = failure.age.saturating_add(by);
        }
        self
    }

    /// Renders the payload as JSON. No copy of the secret stays in memory.
    pub(super) fn encode(&self) -> Option<Zeroizing<Vec<u8>>> {
        // JSON escapes a byte with 6 bytes at most. A buffer that grows would leave a copy behind.
        let strings = self.token.as_ref().map_or(0, |token| token.token.secret().len())
            + self.failure.as_ref().map_or(0, |failure| failure.text.len());
        let mut buffer = Zeroizing::new(Vec::with_capacity(strings * 6 + 512));
        let content = Content {
            token: self.token.as_ref().map(TokenContent::of),
            token_revision: self.token_revision.map(|revision| *revision.as_bytes()),
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

    /// Parses a payload. Does not return the errors of `serde_json`, because they can contain a part of the secret.
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
            // Another process must not be able to stop all logins.
            pause: Duration::from_millis(failure.pause_ms).min(MAX_FAILURE_PAUSE),
        });
        let token_revision = content.token_revision.map(Revision::from_bytes);
        Some(Self { token, token_revision, failure })
    }
}

#[derive(Serialize, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    token: Option<TokenContent<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_revision: Option<[u8; 16]>,
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
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn copy(payload: &Payload) -> Payload {
        Payload::decode(&payload.encode().unwrap()).unwrap()
    }

    fn with(token: AccessToken) -> Payload {
        Payload { token: Some(AgedToken { token, age: secs(7) }), ..Payload::default() }
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
            let payload = Payload { token: Some(AgedToken { token, age }), ..Payload::default() };
            let shared = copy(&payload).aged(age).token.unwrap();
            prop_assert!(shared.lifetime().unwrap() <= lifetime);
            prop_assert!(millis(shared.age) >= millis(age));
        }
    }
}
