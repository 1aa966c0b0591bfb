//! Which tokens there are, and what they are worth.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use super::config::{Config, LONGEST};

const KEY: &[u8] = b"a key for examples and tests only";

pub(super) struct Tokens {
    config: Config,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempts: u64,
    /// Also the number of the newest token.
    issued: u64,
    /// The number of the newest token that was revoked.
    revoked: u64,
    outage_until: Option<Instant>,
}

/// Why there is no token.
pub(super) enum NoToken {
    Outage(Duration),
    WrongCredentials,
    Unsigned(jsonwebtoken::errors::Error),
}

impl Tokens {
    pub(super) fn new(mut config: Config) -> Self {
        config.ttl = config.ttl.min(LONGEST);
        Self { config, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn attempts(&self) -> u64 {
        self.state().attempts
    }

    pub(super) fn issued(&self) -> u64 {
        self.state().issued
    }

    pub(super) fn revoke(&self) {
        let mut state = self.state();
        state.revoked = state.issued;
    }

    pub(super) fn outage(&self, lasting: Duration) {
        self.state().outage_until = Instant::now().checked_add(lasting.min(LONGEST));
    }

    pub(super) fn login(&self) -> &str {
        &self.config.login
    }

    pub(super) fn ttl(&self) -> Duration {
        self.config.ttl
    }

    pub(super) fn issue(&self, login: &str, password: &str) -> Result<String, NoToken> {
        let mut state = self.state();
        state.attempts += 1;
        let outage = state
            .outage_until
            .and_then(|end| end.checked_duration_since(Instant::now()))
            .filter(|left| !left.is_zero());
        if let Some(left) = outage {
            return Err(NoToken::Outage(left));
        }
        if login != self.config.login || password != self.config.password {
            return Err(NoToken::WrongCredentials);
        }
        let number = state.issued + 1;
        let now = now();
        let claims = json!({
            "iat": now,
            "exp": now + self.config.ttl.as_secs(),
            "jti": number.to_string(),
        });
        let key = EncodingKey::from_secret(KEY);
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(NoToken::Unsigned)?;
        state.issued = number;
        Ok(token)
    }

    /// The number of a token that is good: ours, not expired, not revoked.
    pub(super) fn number(&self, token: &str) -> Option<u64> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        let key = DecodingKey::from_secret(KEY);
        let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).ok()?.claims;
        // jsonwebtoken takes a token for good in the very second it ends.
        let exp = claims.get("exp")?.as_u64()?;
        let number = claims.get("jti")?.as_str()?.parse().ok()?;
        (exp > now() && number > self.state().revoked).then_some(number)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
