//! [`Tokens`]: the result of a person's login.

use std::time::Duration;

use super::error_kind::NativeAppErrorKind;
use crate::{
    AccessToken,
    oauth2::{
        OAuth2Error, RefreshToken, RefreshTokenStore, error_kind::Kind, rotation::TimedStore,
    },
};

/// The tokens of a person's login. `Debug` does not show them.
///
/// Save the refresh token. Each later login is a [grant with the store](crate::oauth2::Grant::refresh_token_store), which
/// needs no person:
///
/// ```
/// use tower_auth_refresh::oauth2::{OAuth2Error, RefreshTokenStore, native_app::Tokens};
///
/// async fn keep(tokens: Tokens, store: &impl RefreshTokenStore) -> Result<(), OAuth2Error> {
///     tokens.save_to(store).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Tokens {
    pub(super) access_token: AccessToken,
    pub(super) refresh_token: Option<RefreshToken>,
    /// The limit of a step of a store.
    pub(super) timeout: Duration,
}

impl Tokens {
    /// Returns the access token. It knows its age, so its lifetime counts from the token request.
    ///
    /// A refresher can start with it, without a second login:
    /// [`AuthRefresherBuilder::initial_token`](crate::AuthRefresherBuilder::initial_token).
    pub fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// Returns the refresh token, if the server has issued one.
    ///
    /// Many servers do so only for the scope `offline_access` (OpenID Connect Core 1.0, section 11), or if the client is
    /// registered for it.
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    /// Saves the refresh token in a store, and replaces any token there.
    ///
    /// # Errors
    ///
    /// - The server has issued no refresh token.
    /// - The store failed, or took longer than the [timeout](crate::transport::TransportConfig::timeout) of a request.
    pub async fn save_to(&self, store: &dyn RefreshTokenStore) -> Result<(), OAuth2Error> {
        let failed = |kind| OAuth2Error::new("grant_type refresh_token", kind);
        let Some(token) = &self.refresh_token else {
            return Err(failed(Kind::NativeApp(NativeAppErrorKind::NoRefreshToken)));
        };
        TimedStore { store, limit: self.timeout }.save(token.clone()).await.map_err(failed)
    }
}
