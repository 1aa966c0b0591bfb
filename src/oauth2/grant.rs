//! [`Grant`]: the basis on which the server issues a token.

use std::{fmt, sync::Arc};

use tower_service::Service;
use zeroize::Zeroizing;

use super::{
    RefreshToken, RefreshTokenStore, credential_source::CredentialSource, refresh_token::InMemory,
};
use crate::{AccessToken, BoxError, LoginRequest};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The parameters whose values are not secret.
const PUBLIC_PARAMETERS: [&str; 7] = [
    "scope",
    "audience",
    "resource",
    "username",
    "subject_token_type",
    "actor_token_type",
    "requested_token_type",
];

/// Selects the grant by which the client gets a token, with its parameters.
///
/// ```
/// use tower_auth_refresh::oauth2::{Grant, RefreshToken};
///
/// let own = Grant::client_credentials().scope("invoices:read").audience("https://api.example.com");
/// let of_a_user = Grant::refresh_token(RefreshToken::new("tGzv3JOkF0XG5Qx2TlKWIA"));
/// ```
///
/// `Debug` shows the grant type and the parameters' names, without values.
pub struct Grant {
    pub(super) kind: Kind,
    pub(super) parameters: Vec<(String, Zeroizing<String>)>,
}

pub(super) enum Kind {
    ClientCredentials,
    Password,
    RefreshToken(Arc<dyn RefreshTokenStore>),
    TokenExchange(CredentialSource),
    JwtBearer(CredentialSource),
}

impl Kind {
    pub(super) fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Password => "password",
            Self::RefreshToken(_) => "refresh_token",
            Self::TokenExchange(_) => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    /// Returns the login service whose token is sent, and the name of the parameter.
    pub(super) fn source(&self) -> Option<(&'static str, &CredentialSource)> {
        match self {
            Self::TokenExchange(subject) => Some(("subject_token", subject)),
            Self::JwtBearer(assertion) => Some(("assertion", assertion)),
            Self::ClientCredentials | Self::Password | Self::RefreshToken(_) => None,
        }
    }
}

impl Grant {
    fn new(kind: Kind) -> Self {
        Self { kind, parameters: Vec::new() }
    }

    /// Creates a grant by the client's own authentication (RFC 6749, section 4.4).
    pub fn client_credentials() -> Self {
        Self::new(Kind::ClientCredentials)
    }

    /// Creates a grant by a refresh token, and stores it in memory (RFC 6749, section 6).
    ///
    /// If the server rotates refresh tokens, the latest one is lost with the process. Use
    /// [`refresh_token_store`](Self::refresh_token_store) to keep it.
    pub fn refresh_token(token: RefreshToken) -> Self {
        Self::refresh_token_store(InMemory::new(token))
    }

    /// Creates a grant by a refresh token from a store, such as a file or a database.
    ///
    /// A login of a person fills the store: see [`native_app`](super::native_app).
    pub fn refresh_token_store(store: impl RefreshTokenStore) -> Self {
        Self::new(Kind::RefreshToken(Arc::new(store)))
    }

    /// Creates a grant by a user's name and password (RFC 6749, section 4.3).
    #[deprecated(
        note = "RFC 9700, section 2.4, forbids it; only for servers that support nothing else"
    )]
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::new(Kind::Password).parameter("username", username).parameter("password", password)
    }

    /// Creates a grant that exchanges another token (RFC 8693).
    ///
    /// A login service returns that token at each login: a [file](crate::sources::FileToken), another ready-made login,
    /// or your own service.
    ///
    /// The login service has to return within the login's [timeout](super::OAuth2Login::transport_config). Its token is sent as
    /// an access token. Set the [parameter](Self::parameter) `subject_token_type` for another type of token.
    pub fn token_exchange<L>(subject: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        let kind = Kind::TokenExchange(CredentialSource::new(subject));
        Self::new(kind).parameter("subject_token_type", ACCESS_TOKEN)
    }

    /// Creates a grant by a signed JWT (RFC 7523, section 2.1), which a login service returns at each login:
    /// [`SignedJwt`](super::SignedJwt), or your own service.
    ///
    /// The login service has to return within the login's [timeout](super::OAuth2Login::transport_config).
    pub fn jwt_bearer<L>(assertion: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(Kind::JwtBearer(CredentialSource::new(assertion)))
    }

    /// Sets the scopes of the token, separated by spaces (RFC 6749, section 3.3). Defaults to the server's choice.
    #[must_use]
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.parameter("scope", scope)
    }

    /// Adds an audience of the token (RFC 8693, section 2.1). Some servers accept it with any grant.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.parameter("audience", audience)
    }

    /// Adds an audience of the token as a URI (RFC 8707, section 2).
    #[must_use]
    pub fn resource(self, resource: impl Into<String>) -> Self {
        self.parameter("resource", resource)
    }

    /// Sets any other parameter. The last value of a name counts; `audience` and `resource` can have several values.
    ///
    /// The parameters of the grant and the client (`grant_type`, `client_id`, …) replace a parameter of the same name.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// Returns what no error may show: the values of all parameters that are not known to be public.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret =
            |(name, _): &&(String, Zeroizing<String>)| !PUBLIC_PARAMETERS.contains(&&**name);
        self.parameters.iter().filter(secret).map(|(_, value)| &***value)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("Grant")
            .field("grant_type", &self.kind.grant_type())
            .field("parameters", &names)
            .finish()
    }
}
