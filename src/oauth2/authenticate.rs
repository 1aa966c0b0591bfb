//! How a client authenticates in a token request.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::{
    ClientAuthentication, SignedJwt,
    client_authentication::{Assertion, Method, Secret},
    credential_source::{Credential, CredentialSource},
    error_kind::Kind,
    form::Form,
};
use crate::{Clock, LoginRequest};

/// What an authentication depends on, apart from the client.
pub(super) struct Context<'a> {
    pub(super) request: &'a LoginRequest,
    /// The audience of an assertion, unless the client sets one.
    pub(super) audience: &'a str,
    pub(super) server_time: Option<SystemTime>,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// The limit for a source.
    pub(super) limit: Duration,
}

/// The part of an authentication that is not in the form.
#[derive(Default)]
pub(super) struct Authentication {
    pub(super) header: Option<HeaderValue>,
    /// What no error may show.
    pub(super) secrets: Vec<Zeroizing<String>>,
    /// The time by which an assertion was signed here.
    pub(super) signed_at: Option<SystemTime>,
}

impl ClientAuthentication {
    /// Adds the client's id and credentials to the form, or returns them as a header.
    pub(super) async fn authenticate(
        &self,
        form: &mut Form,
        context: Context<'_>,
    ) -> Result<Authentication, Kind> {
        let mut authentication = Authentication::default();
        match &self.method {
            Method::None => {}
            Method::Basic(secret) => {
                let secret = context.secret(secret).await?;
                let (value, encoded) = self.basic(&secret).ok_or(Kind::InvalidSecret)?;
                authentication.header = Some(value);
                // A server can repeat the header as it was sent.
                authentication.secrets = vec![secret, encoded];
                return Ok(authentication);
            }
            Method::Post(secret) => {
                let secret = context.secret(secret).await?;
                form.push("client_secret", &secret);
                authentication.secrets = vec![secret];
            }
            Method::Assertion(assertion) => {
                let Credential { secret, signed_at } = self.assertion(assertion, &context).await?;
                form.push("client_assertion_type", &self.assertion_type);
                form.push("client_assertion", &secret);
                authentication.secrets = vec![secret];
                authentication.signed_at = signed_at;
            }
        }
        form.push("client_id", &self.id);
        Ok(authentication)
    }

    async fn assertion(
        &self,
        assertion: &Assertion,
        context: &Context<'_>,
    ) -> Result<Credential, Kind> {
        match assertion {
            Assertion::Source(source) => context.load("client_assertion", source).await,
            Assertion::Signed(key) => {
                let audience = self.assertion_audience.as_deref().unwrap_or(context.audience);
                let signed_at = context.server_time.unwrap_or_else(|| context.clock.now());
                let jwt = SignedJwt::new(key.clone(), &*self.id, &*self.id, audience)
                    .lifetime(self.assertion_lifetime)
                    .backdate(self.assertion_backdate);
                let (secret, _) = jwt.sign(signed_at).map_err(Kind::Signing)?;
                Ok(Credential { secret: Zeroizing::new(secret), signed_at: Some(signed_at) })
            }
        }
    }

    /// Returns the value of the `Authorization` header, and what follows the scheme in it.
    fn basic(&self, secret: &str) -> Option<(HeaderValue, Zeroizing<String>)> {
        let encode = |text: &str| match self.encode_basic {
            true => Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>()),
            false => Zeroizing::new(text.to_owned()),
        };
        let pair = Zeroizing::new(format!("{}:{}", *encode(&self.id), *encode(secret)));
        let encoded = Zeroizing::new(STANDARD.encode(&*pair));
        let mut value = HeaderValue::try_from(format!("Basic {}", *encoded)).ok()?;
        value.set_sensitive(true);
        Some((value, encoded))
    }
}

impl Context<'_> {
    async fn secret(&self, secret: &Secret) -> Result<Zeroizing<String>, Kind> {
        match secret {
            Secret::Fixed(secret) => Ok(secret.clone()),
            Secret::Source(source) => Ok(self.load("client_secret", source).await?.secret),
        }
    }

    async fn load(
        &self,
        name: &'static str,
        source: &CredentialSource,
    ) -> Result<Credential, Kind> {
        let credential = source.load(self.request.clone(), self.server_time, self.limit).await;
        credential.map_err(|error| Kind::Credential(name, error))
    }
}
