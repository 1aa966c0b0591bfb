//! [`StaticToken`]: one token.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{AccessToken, Expiry, LoginError, LoginRequest};

/// Always returns the same token, as a login service.
///
/// A token of unknown expiry never expires, and is never refreshed. After a rejection, the refresher logs in, gets the
/// same token, and continues to use it.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, sources::StaticToken};
///
/// # fn layer() -> Result<AuthRefreshLayer, tower_auth_refresh::InvalidToken> {
/// let layer = AuthRefreshLayer::with_login(StaticToken::new(AccessToken::bearer("s3cr3t")?));
/// # Ok(layer)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StaticToken(AccessToken);

impl StaticToken {
    /// Creates a login service for this token. If the token has an [expiry](AccessToken::with_expiry), it is used until
    /// then.
    pub fn new(token: AccessToken) -> Self {
        let token = token.with_unknown_age();
        Self(match token.expiry() {
            Expiry::Unknown => token.with_expiry(Expiry::Never),
            _ => token,
        })
    }
}

impl Service<LoginRequest> for StaticToken {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Ready<Result<AccessToken, LoginError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LoginRequest) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}
