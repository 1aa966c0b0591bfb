//! [`UserLogin`]: `POST /login`.

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ArthurApi, ArthurError, Credentials, User, api::ApiResponse, cookie, error::Kind};
use crate::{
    AccessToken, Expiry,
    transport::{HttpService, TransportFuture, date},
};

/// Logs a user in (`POST /login`). For a login service, use [`ArthurLogin`](super::ArthurLogin).
///
/// A response with status 2xx and a cookie `Authorization` is a login, with any body. The token is sent without
/// `Bearer`. Its [`Expiry`] is read [from its claims](Expiry::from_jwt), and is unknown if the token is not a JWT.
///
/// If the HTTP service follows a redirect, only the cookie of the last response counts.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, header::SET_COOKIE};
/// use http_body_util::Full;
/// use tower::{BoxError, ServiceExt, service_fn};
/// use tower_auth_refresh::arthur::{ArthurApi, BaseUrl, Credentials, UserLogin};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let http = service_fn(|_: Request<Full<Bytes>>| async {
///     let user = r#"{"id":"7","email":"jo@example.com"}"#;
///     Response::builder().header(SET_COOKIE, "Authorization=s3cr3t").body(Full::<Bytes>::from(user))
/// });
/// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http);
/// let login = UserLogin::new(api).oneshot(Credentials::new("jo@example.com", "swordfish")).await?;
/// assert_eq!(login.token.secret(), "s3cr3t");
/// assert_eq!(login.user.map(|user| user.id).as_deref(), Some("7"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// - The credentials are [wrong](ArthurError::is_wrong_credentials) (401 and 403).
/// - The response has [no token](ArthurError::is_missing_token), or [an invalid one](ArthurError::is_invalid_token).
/// - The request failed.
#[derive(Clone)]
pub struct UserLogin<S> {
    api: ArthurApi<S>,
    #[cfg(feature = "arthur-jwt-verify")]
    key: Option<super::VerificationKey>,
}

/// The result of a successful login.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoggedIn {
    /// The token, with its expiry.
    pub token: AccessToken,
    /// The user, if the body contains one.
    pub user: Option<User>,
}

impl<S> UserLogin<S> {
    /// Creates a service that logs in at `api`.
    pub fn new(api: ArthurApi<S>) -> Self {
        Self {
            api,
            #[cfg(feature = "arthur-jwt-verify")]
            key: None,
        }
    }

    /// Rejects tokens that are not signed with this key. By default, signatures are not verified.
    #[cfg(feature = "arthur-jwt-verify")]
    #[cfg_attr(docsrs, doc(cfg(feature = "arthur-jwt-verify")))]
    #[must_use]
    pub fn verify_with(mut self, key: super::VerificationKey) -> Self {
        self.key = Some(key);
        self
    }

    fn token(&self, response: &ApiResponse) -> Result<AccessToken, Kind> {
        let server_time = date(&response.headers);
        let secret = cookie::token(&response.headers, server_time.unwrap_or(response.now))
            .ok_or(Kind::MissingToken)?;
        let token = AccessToken::raw(&secret).map_err(Kind::InvalidToken)?;
        #[cfg(feature = "arthur-jwt-verify")]
        if let Some(key) = &self.key {
            key.verify(&secret).map_err(Kind::Signature)?;
        }
        Ok(token.with_expiry(Expiry::from_jwt(&secret, server_time, response.now)))
    }
}

impl<S: HttpService> UserLogin<S> {
    async fn log_in(self, credentials: Credentials) -> Result<LoggedIn, ArthurError> {
        let response = self
            .api
            .clone()
            .post("/login", credentials.to_json(), credentials.password())
            .await
            .map_err(ArthurError::for_login)?;
        let token = self.token(&response).map_err(|kind| response.error(kind))?;
        let user = response.json().ok();
        Ok(LoggedIn { token, user })
    }
}

impl<S: HttpService> Service<Credentials> for UserLogin<S> {
    type Response = LoggedIn;
    type Error = ArthurError;
    type Future = TransportFuture<LoggedIn, ArthurError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ArthurError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, credentials: Credentials) -> Self::Future {
        TransportFuture::new(self.clone().log_in(credentials))
    }
}

impl<S> fmt::Debug for UserLogin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserLogin").field("api", &self.api).finish_non_exhaustive()
    }
}
