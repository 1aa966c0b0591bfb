//! [`SignedJwt`]: a login service that signs a JWT.

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

const LIFETIME: Duration = Duration::from_secs(300);
/// How far the server's clock may be behind. Strict servers reject an `iat` in their future.
pub(super) const BACKDATE: Duration = Duration::from_secs(10);

/// Signs a new JWT at each login, as a login service.
///
/// Pass it to [`Grant::jwt_bearer`](super::Grant::jwt_bearer) or
/// [`ClientAuthentication::client_assertion`](super::ClientAuthentication::client_assertion), or use it alone where an
/// API accepts the JWT itself. The JWT has the claims `iss`, `sub`, `aud`, `iat`, `exp` and `jti` (RFC 7519,
/// section 4.1; RFC 7523, section 3), and the [claims](Self::claim) that are set.
///
/// ```
/// use tower_auth_refresh::{AuthRefresher, oauth2::{SignedJwt, SigningKey}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_auth_refresh::LoginError> {
/// let key = SigningKey::hs256("a secret of at least 32 bytes, as RFC 7518 requires");
/// let jwt = SignedJwt::new(key, "orders", "orders", "https://api.example.com").claim("scope", "invoices:read");
/// let token = AuthRefresher::new(jwt).token().await?;
/// assert!(token.secret().starts_with("eyJ"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "ServiceAccount")]
pub struct SignedJwt {
    key: SigningKey,
    claims: BTreeMap<String, Value>,
    lifetime: Duration,
    backdate: Duration,
    clock: Arc<dyn Clock>,
}

impl SignedJwt {
    /// Creates a login service for a JWT of `issuer` about `subject` for `audience`.
    pub fn new(
        key: SigningKey,
        issuer: impl Into<String>,
        subject: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        let claims = [("iss", issuer.into()), ("sub", subject.into()), ("aud", audience.into())];
        let claims = claims
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect();
        Self { key, claims, lifetime: LIFETIME, backdate: BACKDATE, clock: Arc::new(SystemClock) }
    }

    /// Sets a claim, such as `scope`. It replaces a claim of the same name, except `exp`, which follows from the
    /// [lifetime](Self::lifetime).
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Sets how long each JWT is valid, in whole seconds (`exp`). Defaults to 5 minutes.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets how far `iat` lies in the past, in whole seconds. Defaults to 10 seconds.
    ///
    /// Strict servers reject a JWT that was issued in their future. The default allows for a server whose clock is a few
    /// seconds behind.
    #[must_use]
    pub fn backdate(mut self, by: Duration) -> Self {
        self.backdate = by;
        self
    }

    /// Sets the local wall clock, which `iat` and `exp` are based on. Defaults to [`SystemClock`].
    ///
    /// In an [`OAuth2Login`](super::OAuth2Login), the server's clock replaces it once a response has shown it.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Returns a JWT that is signed at `now`, and its expiry.
    pub(super) fn sign(&self, now: SystemTime) -> Result<(String, Expiry), InvalidKey> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let expires = Duration::from_secs(now.saturating_add(self.lifetime).as_secs());
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| InvalidKey::signing_failed())?;
        let mut claims = self.claims.clone();
        claims
            .entry("iat".to_owned())
            .or_insert_with(|| now.saturating_sub(self.backdate).as_secs().into());
        claims.insert("exp".to_owned(), expires.as_secs().into());
        claims.entry("jti".to_owned()).or_insert_with(|| URL_SAFE_NO_PAD.encode(id).into());
        let expiry = SystemTime::UNIX_EPOCH.checked_add(expires).map_or(Expiry::Never, Expiry::At);
        Ok((self.key.sign(&claims).ok_or_else(InvalidKey::signing_failed)?, expiry))
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
        let signed = self.sign(self.now()).map_err(LoginError::transient);
        ready(signed.and_then(|(jwt, expiry)| {
            let token = AccessToken::bearer(jwt).map_err(LoginError::permanent)?;
            Ok(token.with_expiry(expiry))
        }))
    }
}

impl fmt::Debug for SignedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedJwt")
            .field("key", &self.key)
            .field("lifetime", &self.lifetime)
            .field("backdate", &self.backdate)
            .finish_non_exhaustive()
    }
}
