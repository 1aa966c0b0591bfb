//! [`ArthurLogin`]: the login service for an [`AuthRefresher`](crate::AuthRefresher).

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ArthurError, Credentials, LoggedIn, UserLogin};
use crate::{
    AccessToken, LoginError, LoginRequest,
    transport::{HttpService, TransportFuture},
};

/// Logs in to the Arthur API for an [`AuthRefresher`](crate::AuthRefresher): [`UserLogin`] with fixed credentials.
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response, header::SET_COOKIE};
/// # use http_body_util::Full;
/// # use tower::{BoxError, service_fn};
/// use tower_auth_refresh::{
///     AuthRefresher,
///     arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, UserLogin},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let http = service_fn(|_: Request<Full<Bytes>>| async {
/// #     Response::builder().header(SET_COOKIE, "Authorization=s3cr3t").body(Full::<Bytes>::default())
/// # });
/// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http);
/// let credentials = Credentials::new("jo@example.com", "swordfish");
/// let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), credentials));
/// assert_eq!(refresher.token().await?.header_value(), "s3cr3t");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A [`LoginError`] whose [`cause`](LoginError::cause) is the [`ArthurError`]. It is permanent for wrong credentials, otherwise transient, and
/// has the server's `Retry-After`.
#[derive(Clone)]
pub struct ArthurLogin<S> {
    login: UserLogin<S>,
    credentials: Credentials,
}

impl<S> ArthurLogin<S> {
    /// Creates a login with `credentials`.
    pub fn new(login: UserLogin<S>, credentials: Credentials) -> Self {
        Self { login, credentials }
    }
}

impl<S: HttpService> Service<LoginRequest> for ArthurLogin<S> {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = TransportFuture<AccessToken, LoginError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LoginRequest) -> Self::Future {
        let login = self.login.call(self.credentials.clone());
        TransportFuture::new(async move {
            let LoggedIn { token, .. } = login.await?;
            Ok(token)
        })
    }
}

impl From<ArthurError> for LoginError {
    fn from(error: ArthurError) -> Self {
        let (is_permanent, retry_after) = (error.is_wrong_credentials(), error.retry_after());
        Self::of_service(error.into(), is_permanent, retry_after)
    }
}

impl<S> fmt::Debug for ArthurLogin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArthurLogin")
            .field("login", &self.login)
            .field("credentials", &self.credentials)
            .finish()
    }
}
