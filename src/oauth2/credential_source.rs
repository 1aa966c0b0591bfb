//! [`CredentialSource`]: a secret, an assertion or a token that is read at each login.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::Mutex, time::timeout};
use tower_service::Service;
use zeroize::Zeroizing;

use super::SignedJwt;
use crate::{AccessToken, BoxError, LoginError, LoginRequest, login::erased::Login};

/// A login service whose token is a credential of another login. Clones share it.
#[derive(Clone)]
pub(super) enum CredentialSource {
    /// Signed by the server's clock, which a `LoginRequest` does not carry.
    Signed(Arc<SignedJwt>),
    Login(Arc<Mutex<Box<dyn Login>>>),
}

impl CredentialSource {
    pub(super) fn new<L>(login: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        match (&login as &dyn Any).downcast_ref::<SignedJwt>() {
            Some(signed) => Self::Signed(Arc::new(signed.clone())),
            None => Self::Login(Arc::new(Mutex::new(Box::new(login)))),
        }
    }

    /// Returns the credential of this login, within `limit`. A JWT is signed at `server_time`, if it is known.
    pub(super) async fn load(
        &self,
        request: LoginRequest,
        server_time: Option<SystemTime>,
        limit: Duration,
    ) -> Result<Credential, LoginError> {
        match self {
            Self::Signed(jwt) => {
                let signed_at = server_time.unwrap_or_else(|| jwt.now());
                let (secret, _) = jwt.sign(signed_at).map_err(LoginError::transient)?;
                Ok(Credential { secret: Zeroizing::new(secret), signed_at: Some(signed_at) })
            }
            // A source that hangs must not block the logins after this one.
            Self::Login(login) => timeout(limit, async { login.lock().await.login(request).await })
                .await
                .unwrap_or_else(|_| {
                    Err(LoginError::transient(format!("timed out after {limit:?}")))
                })
                .map(|token| Credential {
                    secret: Zeroizing::new(token.secret().to_owned()),
                    signed_at: None,
                }),
        }
    }
}

/// A secret, an assertion or a token.
pub(super) struct Credential {
    pub(super) secret: Zeroizing<String>,
    /// The time by which it was signed here.
    pub(super) signed_at: Option<SystemTime>,
}
