//! [`ClientAuthentication`]: who asks for tokens, and how it says so.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::{InvalidKey, SignedJwt, SigningKey, error::Kind, form::Form};
use crate::Clock;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion is good for.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// A client that is registered at the authorization server (RFC 6749, section 2), and how it authenticates.
///
/// The constructors have the names of the registered methods (RFC 8414, section 2: `token_endpoint_auth_method`).
#[derive(Clone)]
pub struct ClientAuthentication {
    id: String,
    method: Method,
    assertion_audience: Option<String>,
}

#[derive(Clone)]
enum Method {
    None,
    Basic(Zeroizing<String>),
    Post(Zeroizing<String>),
    Assertion(SigningKey),
}

impl ClientAuthentication {
    fn new(id: impl Into<String>, method: Method) -> Self {
        Self { id: id.into(), method, assertion_audience: None }
    }

    /// Does not authenticate: only says who it is (`none`).
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id, Method::None)
    }

    /// Sends its secret in the `Authorization` header (RFC 6749, section 2.3.1). Every server must understand this.
    pub fn client_secret_basic(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id, Method::Basic(Zeroizing::new(secret.into())))
    }

    /// Sends its secret in the body.
    pub fn client_secret_post(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id, Method::Post(Zeroizing::new(secret.into())))
    }

    /// Signs an assertion with its secret, by HMAC with SHA-256, and never sends it (RFC 7523, section 2.2).
    pub fn client_secret_jwt(id: impl Into<String>, secret: impl AsRef<[u8]>) -> Self {
        Self::new(id, Method::Assertion(SigningKey::hs256(secret)))
    }

    /// Signs an assertion with its private key (RFC 7523, section 2.2).
    pub fn private_key_jwt(id: impl Into<String>, key: SigningKey) -> Self {
        Self::new(id, Method::Assertion(key))
    }

    /// Whom its assertions are for (`aud`): the issuer if the server was [discovered](super::AuthorizationServer::discover),
    /// and else the token endpoint, unless description.
    #[must_use]
    pub fn assertion_audience(mut self, audience: impl Into<String>) -> Self {
        self.assertion_audience = Some(audience.into());
        self
    }

    /// The secret that is sent.
    pub(super) fn secret(&self) -> Option<&str> {
        match &self.method {
            Method::Basic(secret) | Method::Post(secret) => Some(secret),
            Method::None | Method::Assertion(_) => None,
        }
    }

    /// Says who it is, in the form or in the header that this returns. `audience` is whom an assertion is for unless description.
    pub(super) fn authenticate(
        &self,
        form: &mut Form,
        audience: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<HeaderValue>, Kind> {
        match &self.method {
            Method::Basic(secret) => return basic(&self.id, secret).map(Some).ok_or(Kind::InvalidSecret),
            Method::Post(secret) => form.push("client_secret", secret),
            Method::Assertion(key) => {
                let audience = self.assertion_audience.as_deref().unwrap_or(audience);
                let jwt = SignedJwt::new(key.clone(), &*self.id, &*self.id, audience).lifetime(ASSERTION_LIFETIME);
                let signed = jwt.on(clock.clone()).sign();
                let (jwt, _) = signed.ok_or_else(|| Kind::Signing(InvalidKey::signing_failed()))?;
                form.push("client_assertion_type", JWT_BEARER);
                form.push("client_assertion", &jwt);
            }
            Method::None => {}
        }
        form.push("client_id", &self.id);
        Ok(None)
    }
}

/// Both are encoded as in a form first (RFC 6749, section 2.3.1 and appendix B).
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encode(id), encode(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&*pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            Method::None => "none",
            Method::Basic(_) => "client_secret_basic",
            Method::Post(_) => "client_secret_post",
            Method::Assertion(_) => "an assertion",
        };
        f.debug_struct("ClientAuthentication").field("id", &self.id).field("method", &method).finish_non_exhaustive()
    }
}
