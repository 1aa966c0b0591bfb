//! A login service without its type.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};

use tower_service::Service;

use super::{
    error::{Kind, LoginError},
    request::LoginRequest,
};
use crate::{error::BoxError, token::AccessToken};

/// A login under way.
pub(crate) type LoginFuture<'a> =
    Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send + 'a>>;

/// A login service without its type: made ready, then called.
pub(crate) trait Login: Send {
    fn login(&mut self, request: LoginRequest) -> LoginFuture<'_>;
}

impl<L> Login for L
where
    L: Service<LoginRequest, Response = AccessToken> + Send,
    L::Error: Into<BoxError>,
    L::Future: Send,
{
    fn login(&mut self, request: LoginRequest) -> LoginFuture<'_> {
        let failed = |error: L::Error| LoginError::from_service(error.into());
        Box::pin(async move {
            poll_fn(|cx| self.poll_ready(cx).map_err(failed)).await?;
            self.call(request).await.map_err(failed)
        })
    }
}

/// Turns a panic of the login into an error.
pub(crate) async fn catch_panic(
    login: impl Future<Output = Result<AccessToken, LoginError>>,
) -> Result<AccessToken, LoginError> {
    let mut login = pin!(login);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| login.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(LoginError::new(Kind::Panicked, None))))
    })
    .await
}
