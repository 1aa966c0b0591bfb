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

use super::{
    attempt::Attempt, process_state::ProcessState, sealed_store::read_clocks, settings::Settings,
};
use crate::{
    login::{LoginError, LoginRequest, erased::Login},
    token::AccessToken,
};

/// A login service that shares its token with other processes. A [`SharedTokenLayer`](super::SharedTokenLayer) creates
/// it.
///
/// One login runs at a time. A login waits for the previous one, even if that was dropped.
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
/// - The [`LoginError`] of the login service below, or a timeout if that exceeds
///   [`login_timeout`](super::SharedTokenLayer::login_timeout).
/// - The permanent error of another process, until its failure pause is over: 5 seconds, and up to a minute after
///   repeated errors. The error is transient while the current token is live.
/// - The transient error of another process whose issuer has requested a delay, until the delay is over.
/// - A transient error if another process still has the claim after `login_timeout`.
/// - A transient error if the store is unavailable, and the random time of the login without the store is later. The
///   refresher retries.
///
/// The cause of another process's error is only a text, of 500 characters at most. With
/// [`danger_unsealed`](super::SharedTokenLayer::danger_unsealed), the store contains this text as plaintext.
///
/// [`AuthRefresher::refresh`](crate::AuthRefresher::refresh) ignores the failure pause. It may return a newer token of
/// another process without a login.
///
/// # Cancellation
///
/// Dropping the future ends the wait for the store and for other processes. A login for which this process has the
/// claim continues in its own task, which puts the token.
pub struct SharedToken {
    settings: Settings,
    process: Arc<Mutex<ProcessState>>,
}

impl SharedToken {
    pub(super) fn new(settings: Settings, login: impl Login + 'static) -> Self {
        Self { settings, process: Arc::new(Mutex::new(ProcessState::new(login))) }
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
        let (settings, process) = (self.settings.clone(), self.process.clone());
        let requested_at = read_clocks();
        SharedTokenFuture(Box::pin(async move {
            let process = process.lock_owned().await;
            Attempt::new(settings, process, request, requested_at)?.log_in().await
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
