//! What a token endpoint's answer says (RFC 6749, sections 5.1 and 5.2).

use std::{fmt, time::Duration};

use http::StatusCode;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::{
    RefreshToken,
    error::{Kind, Refusal},
};
use crate::{
    AccessToken, Expiry,
    exchange::{Received, date, excerpt, retry_after},
};

/// What was granted.
pub(super) struct Granted {
    pub(super) token: AccessToken,
    pub(super) refresh_token: Option<RefreshToken>,
}

#[derive(Deserialize)]
struct Body {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
    /// When the issuer would have the token refreshed. No standard, but some say it.
    refresh_in: Option<Seconds>,
    refresh_token: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Reads an answer; no error shows one of the `secrets`.
pub(super) fn read(received: Received, secrets: &[&str]) -> Result<Granted, Kind> {
    let Received { head, body, now } = received;
    let server_time = date(&head.headers);
    if head.status.is_redirection() && head.status != StatusCode::NOT_MODIFIED {
        return Err(Kind::Redirect(head.status));
    }
    let success = head.status.is_success();
    let body = match body {
        Err(broken) if success => return Err(Kind::Broken(broken)),
        // The status counts, though the body did not come whole or in time.
        body => body.unwrap_or_default(),
    };
    let parsed: Result<Body, _> = serde_json::from_slice(&body);
    let shown = |text: &str| excerpt(text.as_bytes(), secrets);
    let refusal = |code: Option<&str>, said| {
        let retry_after = retry_after(&head.headers, server_time.unwrap_or(now));
        Kind::Refused(Refusal { status: head.status, code: code.map(shown), said, retry_after })
    };
    let parsed = match parsed {
        // Some answer an error with 200.
        Ok(Body { error: Some(code), error_description, .. }) => {
            let said = error_description.as_deref().map(shown).unwrap_or_default();
            return Err(refusal(Some(&code), said));
        }
        _ if !success => return Err(refusal(None, excerpt(&body, secrets))),
        // serde's own error may quote the answer, so only the place is told.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return Err(Kind::Malformed(format!("this is not the JSON expected (line {line}, column {column})")));
        }
        Ok(parsed) => parsed,
    };
    // Required, and yet some leave it out where there is but one.
    if let Some(said) = parsed.token_type.filter(|said| !said.eq_ignore_ascii_case("bearer")) {
        return Err(Kind::TokenType(shown(&said)));
    }
    let secret = parsed.access_token.ok_or_else(|| Kind::Malformed("there is no access_token".to_owned()))?;
    let expiry = match parsed.expires_in {
        Some(Seconds(lifetime)) => Expiry::In(lifetime),
        None => Expiry::from_jwt(&secret, server_time, now),
    };
    let mut token = AccessToken::bearer(&secret).map_err(Kind::InvalidToken)?.with_expiry(expiry);
    if let Some(Seconds(after)) = parsed.refresh_in {
        token = token.with_refresh_in(after);
    }
    Ok(Granted { token, refresh_token: parsed.refresh_token.filter(|token| !token.is_empty()).map(RefreshToken::new) })
}

/// A count of seconds: a number, or as some write it, a number in quotes. Less than none is none.
#[derive(Clone, Copy)]
struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds(Duration::from_secs(seconds)))
            }

            fn visit_i64<E>(self, seconds: i64) -> Result<Seconds, E> {
                Ok(Seconds(Duration::from_secs(u64::try_from(seconds).unwrap_or_default())))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
                if seconds.is_nan() {
                    return Err(E::custom("no number of seconds"));
                }
                Ok(Seconds(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
                let text = text.trim();
                match text.parse::<u64>() {
                    Ok(seconds) => self.visit_u64(seconds),
                    Err(_) => {
                        text.parse().map_err(|_| E::custom("no number of seconds")).and_then(|s| self.visit_f64(s))
                    }
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
