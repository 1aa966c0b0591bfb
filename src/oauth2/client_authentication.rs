//! [`ClientAuthentication`]: the client's id, and how it authenticates. `authenticate` applies it to a request.

use std::{fmt, time::Duration};

use tower_service::Service;
use zeroize::Zeroizing;

use super::{SigningKey, credential_source::CredentialSource, signed_jwt::BACKDATE};
use crate::{AccessToken, BoxError, LoginRequest};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// Identifies and authenticates a client that is registered at the authorization server (RFC 6749, section 2).
///
/// The constructors have the names of the registered methods (`token_endpoint_auth_method`, RFC 8414, section 2). If a
/// secret or an assertion changes, pass a login service that returns it. Each login calls that service:
///
#[cfg_attr(feature = "token-file", doc = "```")]
#[cfg_attr(not(feature = "token-file"), doc = "```ignore")]
/// use tower_auth_refresh::{oauth2::ClientAuthentication, sources::FileToken};
///
/// let fixed = ClientAuthentication::client_secret_basic("orders", "swordfish");
/// let mounted = ClientAuthentication::client_secret_post_from("orders", FileToken::new("/run/secrets/orders"));
///
/// // Workload identity: the platform replaces the file before the assertion in it expires.
/// let file = FileToken::new("/var/run/secrets/azure/tokens/azure-identity-token");
/// let federated = ClientAuthentication::client_assertion("orders", file);
/// ```
///
/// `Debug` shows the id and the method.
#[derive(Clone)]
#[doc(alias = "Client")]
#[doc(alias = "ClientCredential")]
pub struct ClientAuthentication {
    pub(super) id: String,
    pub(super) method: Method,
    pub(super) encode_basic: bool,
    pub(super) assertion_type: String,
    pub(super) assertion_audience: Option<String>,
    pub(super) assertion_lifetime: Duration,
    pub(super) assertion_backdate: Duration,
}

#[derive(Clone)]
pub(super) enum Method {
    None,
    Basic(Secret),
    Post(Secret),
    Assertion(Assertion),
}

#[derive(Clone)]
pub(super) enum Assertion {
    Signed(SigningKey),
    Source(CredentialSource),
}

#[derive(Clone)]
pub(super) enum Secret {
    Fixed(Zeroizing<String>),
    Source(CredentialSource),
}

impl Secret {
    fn fixed(secret: impl Into<String>) -> Self {
        Self::Fixed(Zeroizing::new(secret.into()))
    }
}

impl ClientAuthentication {
    fn new(id: impl Into<String>, method: Method) -> Self {
        Self {
            id: id.into(),
            method,
            encode_basic: true,
            assertion_type: JWT_BEARER.to_owned(),
            assertion_audience: None,
            assertion_lifetime: ASSERTION_LIFETIME,
            assertion_backdate: BACKDATE,
        }
    }

    /// Creates a public client, which sends its id and does not authenticate (`none`).
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id, Method::None)
    }

    /// Creates a client that sends its secret in the `Authorization` header. All servers support this method (RFC 6749,
    /// section 2.3.1).
    pub fn client_secret_basic(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id, Method::Basic(Secret::fixed(secret)))
    }

    /// Creates a client that sends the secret of a login service in the `Authorization` header.
    ///
    /// The login service is called at each login and has to return within the login's
    /// [timeout](super::OAuth2Login::transport_config).
    pub fn client_secret_basic_from<L>(id: impl Into<String>, source: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(id, Method::Basic(Secret::Source(CredentialSource::new(source))))
    }

    /// Creates a client that sends its secret in the body.
    pub fn client_secret_post(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id, Method::Post(Secret::fixed(secret)))
    }

    /// Creates a client that sends the secret of a login service in the body. The login service is called as for
    /// [`client_secret_basic_from`](Self::client_secret_basic_from).
    pub fn client_secret_post_from<L>(id: impl Into<String>, source: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(id, Method::Post(Secret::Source(CredentialSource::new(source))))
    }

    /// Creates a client that signs an assertion with its secret, by HMAC with SHA-256 (RFC 7523, section 2.2). The secret
    /// is never sent.
    pub fn client_secret_jwt(id: impl Into<String>, secret: impl AsRef<[u8]>) -> Self {
        Self::new(id, Method::Assertion(Assertion::Signed(SigningKey::hs256(secret))))
    }

    /// Creates a client that signs an assertion with its private key (RFC 7523, section 2.2).
    pub fn private_key_jwt(id: impl Into<String>, key: SigningKey) -> Self {
        Self::new(id, Method::Assertion(Assertion::Signed(key)))
    }

    /// Creates a client that sends the assertion of a login service (RFC 7521, section 4.2).
    ///
    /// Examples are a file of a workload identity, or a [`SignedJwt`](super::SignedJwt) with other claims than
    /// [`private_key_jwt`](Self::private_key_jwt). The login service is called as for
    /// [`client_secret_basic_from`](Self::client_secret_basic_from).
    pub fn client_assertion<L>(id: impl Into<String>, source: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(id, Method::Assertion(Assertion::Source(CredentialSource::new(source))))
    }

    /// Sets whether the id and the secret in the `Authorization` header are form-encoded first. Defaults to `true`, as
    /// RFC 6749, section 2.3.1, requires.
    ///
    /// Set `false` for a server that does not decode them. It makes a difference only for characters other than letters,
    /// digits, `-`, `.` and `_`.
    #[must_use]
    pub fn form_encode_basic(mut self, enabled: bool) -> Self {
        self.encode_basic = enabled;
        self
    }

    /// Sets `client_assertion_type`. Defaults to `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (RFC 7523,
    /// section 2.2).
    #[must_use]
    pub fn assertion_type(mut self, assertion_type: impl Into<String>) -> Self {
        self.assertion_type = assertion_type.into();
        self
    }

    /// Sets the audience of the assertions that are signed here (`aud`).
    ///
    /// Defaults to the issuer if the server is [discovered](super::AuthorizationServer::discover), otherwise to the token
    /// endpoint.
    #[must_use]
    pub fn assertion_audience(mut self, audience: impl Into<String>) -> Self {
        self.assertion_audience = Some(audience.into());
        self
    }

    /// Sets how long an assertion that is signed here is valid, in whole seconds (`exp`). Defaults to 60 seconds.
    #[must_use]
    pub fn assertion_lifetime(mut self, lifetime: Duration) -> Self {
        self.assertion_lifetime = lifetime;
        self
    }

    /// Sets how far `iat` of an assertion that is signed here lies in the past. Defaults to 10 seconds; see
    /// [`SignedJwt::backdate`](super::SignedJwt::backdate).
    #[must_use]
    pub fn assertion_backdate(mut self, by: Duration) -> Self {
        self.assertion_backdate = by;
        self
    }
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            Method::None => "none",
            Method::Basic(_) => "client_secret_basic",
            Method::Post(_) => "client_secret_post",
            Method::Assertion(Assertion::Signed(_)) => "signed assertion",
            Method::Assertion(Assertion::Source(_)) => "assertion",
        };
        f.debug_struct("ClientAuthentication")
            .field("id", &self.id)
            .field("method", &method)
            .finish_non_exhaustive()
    }
}
