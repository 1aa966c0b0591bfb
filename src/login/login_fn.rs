//! [`login_fn`]: a login service from a function.

use std::{
    any, fmt,
    future::Future,
    task::{Context, Poll},
};

use tower_service::Service;

use super::request::LoginRequest;
use crate::{error::BoxError, token::AccessToken};

/// Creates a login service from a function that returns a future, as tower's `service_fn` does.
///
/// A closure needs no type annotations, because the types of the request and of the error are fixed. `?` converts any
/// error into a [`BoxError`]. A [`LoginError`](crate::LoginError) states whether a retry can help.
///
/// The function returns a `BoxError`. With an `anyhow::Result` or an `eyre::Result`, convert it:
/// `login_fn(|_| async { Ok(log_in().await?) })`. A `LoginError` inside such an error still counts.
///
/// A client that the closure captures is cloned for each login:
///
/// ```
/// use tower_auth_refresh::{AccessToken, BoxError, login_fn};
///
/// # #[derive(Clone)] struct Http;
/// # impl Http { async fn fetch_token(&self) -> Result<String, std::io::Error> { Ok("abc".to_owned()) } }
/// # let http = Http;
/// let login = login_fn(move |_| {
///     let http = http.clone();
///     async move { Ok(AccessToken::bearer(http.fetch_token().await?)?) }
/// });
/// # let _ = tower_auth_refresh::AuthRefresher::new(login);
/// ```
///
/// The request has the number of the attempt, and the reason:
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginError, login_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # async fn fetch_token() -> Result<(String, u64), std::io::Error> { Ok(("abc".to_owned(), 3600)) }
/// let login = login_fn(|request| async move {
///     if request.attempt > 100 {
///         return Err(LoginError::permanent("too many failures").into());
///     }
///     let (secret, seconds) = fetch_token().await?;
///     Ok(AccessToken::bearer(secret)?.with_expires_in(Duration::from_secs(seconds)))
/// });
/// assert_eq!(AuthRefresher::new(login).token().await?.secret(), "abc");
/// # Ok(())
/// # }
/// ```
pub fn login_fn<F, R>(login: F) -> LoginFn<F>
where
    F: FnMut(LoginRequest) -> R,
    R: Future<Output = Result<AccessToken, BoxError>>,
{
    LoginFn { login }
}

/// A login service that [`login_fn`] creates.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, BoxError, LoginFn, LoginRequest, login_fn};
///
/// async fn log_in(_: LoginRequest) -> Result<AccessToken, BoxError> {
///     Ok(AccessToken::bearer("abc")?)
/// }
///
/// let login: LoginFn<_> = login_fn(log_in);
/// let layer = AuthRefreshLayer::with_login(login);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy)]
pub struct LoginFn<F> {
    login: F,
}

impl<F, R> Service<LoginRequest> for LoginFn<F>
where
    F: FnMut(LoginRequest) -> R,
    R: Future<Output = Result<AccessToken, BoxError>>,
{
    type Response = AccessToken;
    type Error = BoxError;
    type Future = R;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> R {
        (self.login)(request)
    }
}

impl<F> fmt::Debug for LoginFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginFn")
            .field("login", &format_args!("{}", any::type_name::<F>()))
            .finish()
    }
}
