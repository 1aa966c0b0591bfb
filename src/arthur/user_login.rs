//! [`UserLogin`]: `POST /login`.

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ArthurApi, ArthurError, Credentials, HttpService, ResponseFuture, User, api::Answer, cookie, error::Kind};
use crate::{AccessToken, Expiry, exchange::date};

/// Logs a user in: `POST /login`.
///
/// Any answer of 2xx with a cookie `Authorization` is a login: the cookie is the answer, and its body is a bonus. The
/// token is sent as it is, without `Bearer`. Its [`Expiry`] is read [from its claims](Expiry::from_jwt); a token that
/// is no JWT has an unknown one.
///
/// Only the final answer counts: where the HTTP service follows a redirect, a cookie that the redirect sets is not seen.
///
/// # Errors
///
/// [Wrong credentials](ArthurError::is_wrong_credentials) (401 and 403), an answer [without a
/// token](ArthurError::is_no_token) or with [one that cannot be used](ArthurError::is_invalid_token), and whatever can
/// happen to an exchange.
#[derive(Clone)]
pub struct UserLogin<S> {
    api: ArthurApi<S>,
    #[cfg(feature = "arthur-jwt-verify")]
    key: Option<super::VerificationKey>,
}

/// A login that succeeded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoggedIn {
    /// The token, with its expiry.
    pub token: AccessToken,
    /// The user, where the body said so.
    pub user: Option<User>,
}

impl<S> UserLogin<S> {
    /// Logs in at `api`.
    pub fn new(api: ArthurApi<S>) -> Self {
        Self {
            api,
            #[cfg(feature = "arthur-jwt-verify")]
            key: None,
        }
    }

    /// Refuses a token whose signature this key does not verify. Without a key, signatures are not checked.
    #[cfg(feature = "arthur-jwt-verify")]
    #[cfg_attr(docsrs, doc(cfg(feature = "arthur-jwt-verify")))]
    #[must_use]
    pub fn verify_with(mut self, key: super::VerificationKey) -> Self {
        self.key = Some(key);
        self
    }

    fn token(&self, answer: &Answer) -> Result<AccessToken, Kind> {
        let server_time = date(&answer.headers);
        let secret = cookie::token(&answer.headers, server_time.unwrap_or(answer.now)).ok_or(Kind::NoToken)?;
        let token = AccessToken::raw(&secret).map_err(Kind::InvalidToken)?;
        #[cfg(feature = "arthur-jwt-verify")]
        if let Some(key) = &self.key {
            key.verify(&secret).map_err(Kind::Signature)?;
        }
        Ok(token.with_expiry(Expiry::from_jwt(&secret, server_time, answer.now)))
    }
}

impl<S: HttpService> UserLogin<S> {
    async fn log_in(self, credentials: Credentials) -> Result<LoggedIn, ArthurError> {
        let answer = self
            .api
            .clone()
            .post("/login", credentials.to_json(), credentials.password())
            .await
            .map_err(ArthurError::of_login)?;
        let token = self.token(&answer).map_err(|kind| answer.error(kind))?;
        let user = answer.json().ok();
        Ok(LoggedIn { token, user })
    }
}

impl<S: HttpService> Service<Credentials> for UserLogin<S> {
    type Response = LoggedIn;
    type Error = ArthurError;
    type Future = ResponseFuture<LoggedIn, ArthurError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ArthurError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, credentials: Credentials) -> Self::Future {
        ResponseFuture::new(self.clone().log_in(credentials))
    }
}

impl<S> fmt::Debug for UserLogin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserLogin").field("api", &self.api).finish_non_exhaustive()
    }
}
