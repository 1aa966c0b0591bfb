//! [`SharedToken`]: the service that a [`SharedTokenLayer`](super::SharedTokenLayer) creates.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::Mutex;
use tower_service::Service;

use super::{attempt::Attempt, sealed_store::read_clocks, session::Session, settings::Settings};
use crate::{
    login::{LoginError, LoginRequest, erased::Login},
    token::AccessToken,
};

/// A login service that shares its token with other processes. A [`SharedTokenLayer`](super::SharedTokenLayer) creates it.
///
/// One login runs at a time. A login waits for the one before, even if that was dropped.
///
/// ```
/// use tower_auth_refresh::{AuthRefresher, shared::SharedToken};
///
/// fn refresher(login: SharedToken) -> AuthRefresher {
///     AuthRefresher::new(login)
/// }
/// # let _ = refresher;
/// ```
///
/// # Errors
///
/// - The [`LoginError`] of the login service below, or a timeout if it exceeds
///   [`login_timeout`](super::SharedTokenLayer::login_timeout).
/// - The permanent error of another process, for 5 seconds, and up to a minute after repeated errors. Its cause is a text. The
///   error is transient while the current token is valid.
/// - The transient error of another process, if its issuer has requested a delay, until the end of that.
/// - A transient error, if another process still has the claim after `login_timeout`.
/// - A transient error, if the store is unavailable and the current token is still good for some time. The refresher
///   retries.
///
/// # Cancellation
///
/// Dropping the future ends the waiting for the store and for other processes. A login for which this process has the
/// claim continues in its own task, and its token is put into the store.
pub struct SharedToken {
    settings: Settings,
    session: Arc<Mutex<Session>>,
}

impl SharedToken {
    pub(super) fn new(settings: Settings, login: impl Login + 'static) -> Self {
        Self { settings, session: Arc::new(Mutex::new(Session::new(login))) }
    }
}

impl Service<LoginRequest> for SharedToken {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = SharedTokenFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> SharedTokenFuture {
        let (settings, session) = (self.settings.clone(), self.session.clone());
        let requested_at = read_clocks();
        SharedTokenFuture(Box::pin(async move {
            let session = session.lock_owned().await;
            Attempt::new(settings, session, request, requested_at)?.log_in().await
        }))
    }
}

impl fmt::Debug for SharedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedToken").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The future of a [`SharedToken`].
///
/// ```
/// use tower_auth_refresh::{AccessToken, shared::SharedTokenFuture};
///
/// async fn first(login: SharedTokenFuture) -> Option<AccessToken> {
///     login.await.ok()
/// }
/// # let _ = first;
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct SharedTokenFuture(Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send>>);

impl Future for SharedTokenFuture {
    type Output = Result<AccessToken, LoginError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for SharedTokenFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTokenFuture").finish_non_exhaustive()
    }
}
