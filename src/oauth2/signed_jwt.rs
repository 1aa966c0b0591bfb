//! [`SignedJwt`]: a token that is made rather than asked for, and the assertion by which a client authenticates.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use tower_service::Service;

use super::{InvalidKey, SigningKey};
use crate::{AccessToken, Clock, Expiry, LoginError, LoginRequest, SystemClock};

/// A login service that signs a JWT of its own at each login: for [`Grant::jwt_bearer`](super::Grant::jwt_bearer), or as the
/// token itself where an API takes it so.
///
/// It has `iss`, `sub`, `aud`, `iat`, `exp` and `jti` (RFC 7519, section 4.1; RFC 7523, section 3), and what is
/// [added](Self::claim).
#[derive(Clone)]
pub struct SignedJwt {
    key: SigningKey,
    claims: BTreeMap<String, Value>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

impl SignedJwt {
    /// A JWT of `issuer` about `subject` for `audience`, good for 5 minutes.
    pub fn new(
        key: SigningKey,
        issuer: impl Into<String>,
        subject: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        let claims = [("iss", issuer.into()), ("sub", subject.into()), ("aud", audience.into())];
        let claims = claims.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        Self { key, claims, lifetime: Duration::from_secs(300), clock: Arc::new(SystemClock) }
    }

    /// Another claim, such as `scope`. One of a name that is there already takes its place, but for `exp`, which is by the
    /// [lifetime](Self::lifetime).
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// How long each is good for, in whole seconds; 5 minutes unless description.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The local wall clock, from which `iat` and `exp` are.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(super) fn on(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With when it ends; `None` if the key, or chance, fails.
    pub(super) fn sign(&self) -> Option<(String, Expiry)> {
        let now = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let end = Duration::from_secs(now.saturating_add(self.lifetime).as_secs());
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).ok()?;
        let mut claims = self.claims.clone();
        claims.entry("iat".to_owned()).or_insert_with(|| now.as_secs().into());
        claims.insert("exp".to_owned(), end.as_secs().into());
        claims.entry("jti".to_owned()).or_insert_with(|| URL_SAFE_NO_PAD.encode(id).into());
        let expiry = SystemTime::UNIX_EPOCH.checked_add(end).map_or(Expiry::Never, Expiry::At);
        Some((self.key.sign(&claims)?, expiry))
    }
}

impl Service<LoginRequest> for SignedJwt {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Ready<Result<AccessToken, LoginError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LoginRequest) -> Self::Future {
        let failed = || LoginError::transient(InvalidKey::signing_failed());
        ready(self.sign().ok_or_else(failed).and_then(|(jwt, expiry)| {
            let token = AccessToken::bearer(jwt).map_err(LoginError::permanent)?;
            Ok(token.with_expiry(expiry))
        }))
    }
}

impl fmt::Debug for SignedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedJwt").field("key", &self.key).field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}
