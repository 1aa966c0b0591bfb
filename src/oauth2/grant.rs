//! [`Grant`]: what a client has to show for a token.

use std::{fmt, sync::Arc};

use tower_service::Service;
use zeroize::Zeroizing;

use super::{RefreshToken, RefreshTokenStore, refresh_token::InMemory};
use crate::{AccessToken, BoxError, LoginRequest, login::erased::Login};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a client has to show for a token, and what the token is to be for.
pub struct Grant {
    pub(super) kind: Kind,
    pub(super) parameters: Vec<(String, Zeroizing<String>)>,
}

pub(super) enum Kind {
    ClientCredentials,
    Password,
    RefreshToken(Arc<dyn RefreshTokenStore>),
    TokenExchange(Box<dyn Login>),
    JwtBearer(Box<dyn Login>),
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
}

impl Grant {
    fn new(kind: Kind) -> Self {
        Self { kind, parameters: Vec::new() }
    }

    /// Nothing but the client's own authentication (RFC 6749, section 4.4).
    pub fn client_credentials() -> Self {
        Self::new(Kind::ClientCredentials)
    }

    /// A refresh token (RFC 6749, section 6), kept in memory: where it rotates, the newest ends with the process.
    pub fn refresh_token(token: RefreshToken) -> Self {
        Self::stored_refresh_token(InMemory::new(token))
    }

    /// A refresh token that is kept in a store.
    pub fn stored_refresh_token(store: impl RefreshTokenStore) -> Self {
        Self::new(Kind::RefreshToken(Arc::new(store)))
    }

    /// A user's name and password (RFC 6749, section 4.3).
    #[deprecated(note = "RFC 9700, section 2.4, forbids it; for servers that know nothing better")]
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::new(Kind::Password).parameter("username", username).parameter("password", password)
    }

    /// Another token in exchange (RFC 8693), which a login service brings anew for each: a
    /// [file](crate::sources::FileToken), another refresher's login, or one of your own.
    ///
    /// It is sent as an access token; say `subject_token_type` by [`parameter`](Self::parameter) if it is something else.
    pub fn token_exchange<L>(subject: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(Kind::TokenExchange(Box::new(subject))).parameter("subject_token_type", ACCESS_TOKEN)
    }

    /// A JWT that somebody has signed (RFC 7523, section 2.1), which a login service brings anew for each:
    /// [`SignedJwt`](super::SignedJwt), or one of your own.
    pub fn jwt_bearer<L>(assertion: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(Kind::JwtBearer(Box::new(assertion)))
    }

    /// What the token is to be good for: scopes, with a space between them (RFC 6749, section 3.3). None unless said: the
    /// server's own default.
    #[must_use]
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.parameter("scope", scope)
    }

    /// Whom the token is for: RFC 8693, section 2.1, and what some servers take with any grant. Another call adds another.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.parameter("audience", audience)
    }

    /// Whom the token is for, as a URI (RFC 8707, section 2). Another call adds another.
    #[must_use]
    pub fn resource(self, resource: impl Into<String>) -> Self {
        self.parameter("resource", resource)
    }

    /// Any other parameter. The last one of a name counts, but for `audience` and `resource`, of which there may be several.
    /// What the grant and the client need (`grant_type`, `client_id`, …) they say themselves.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// What no error may show: all values but those that are known to be none of a secret.
    pub(super) fn secrets(parameters: &[(String, Zeroizing<String>)]) -> impl Iterator<Item = &str> {
        let public = [
            "scope",
            "audience",
            "resource",
            "username",
            "subject_token_type",
            "actor_token_type",
            "requested_token_type",
        ];
        parameters.iter().filter(move |(name, _)| !public.contains(&&**name)).map(|(_, value)| &***value)
    }
}

/// Without values: one of them may be a password.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("Grant").field("grant_type", &self.kind.grant_type()).field("parameters", &names).finish()
    }
}
