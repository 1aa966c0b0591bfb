//! The tokens that the server issues and accepts.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::config::{Config, MAX_DURATION};

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

/// Why a login fails.
pub(super) enum LoginFailure {
    Outage(Duration),
    WrongCredentials,
}

impl Tokens {
    pub(super) fn new(mut config: Config) -> Self {
        config.ttl = config.ttl.min(MAX_DURATION);
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

    pub(super) fn outage(&self, duration: Duration) {
        self.state().outage_until = Instant::now().checked_add(duration.min(MAX_DURATION));
    }

    pub(super) fn login(&self) -> &str {
        &self.config.login
    }

    pub(super) fn ttl(&self) -> Duration {
        self.config.ttl
    }

    pub(super) fn issue(&self, login: &str, password: &str) -> Result<String, LoginFailure> {
        let mut state = self.state();
        state.attempts += 1;
        let outage = state
            .outage_until
            .and_then(|end| end.checked_duration_since(Instant::now()))
            .filter(|left| !left.is_zero());
        if let Some(left) = outage {
            return Err(LoginFailure::Outage(left));
        }
        if login != self.config.login || password != self.config.password {
            return Err(LoginFailure::WrongCredentials);
        }
        state.issued += 1;
        let now = unix_time();
        let claims = json!({
            "iat": now,
            "exp": now + self.config.ttl.as_secs(),
            "jti": state.issued.to_string(),
        });
        Ok(sign(&claims))
    }

    /// Returns the number of a token that this server issued, and that has neither expired nor been revoked.
    pub(super) fn verify(&self, token: &str) -> Option<u64> {
        let claims = verify_signature(token)?;
        let exp = claims.get("exp")?.as_u64()?;
        let number = claims.get("jti")?.as_str()?.parse().ok()?;
        (exp > unix_time() && number > self.state().revoked).then_some(number)
    }
}

/// Makes a JWT with a signature by HS256 (RFC 7515, appendix A.1).
fn sign(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let signed =
        [header, claims.clone()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(mac(&signed).finalize().into_bytes());
    format!("{signed}.{signature}")
}

fn verify_signature(token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    mac(signed).verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let (_, claims) = signed.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn mac(signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY)
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(signed.as_bytes());
    mac
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
