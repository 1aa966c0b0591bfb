//! [`TransportFuture`]: the future of the ready-made logins and endpoints.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// The future of a ready-made login or endpoint. Dropping it cancels the request.
///
/// ```
/// use tower_auth_refresh::transport::TransportFuture;
///
/// async fn first<T, E>(future: TransportFuture<T, E>) -> Option<T> {
///     future.await.ok()
/// }
/// # let _ = first::<(), ()>;
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct TransportFuture<T, E>(Pin<Box<dyn Future<Output = Result<T, E>> + Send>>);

impl<T, E> TransportFuture<T, E> {
    pub(crate) fn new(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl<T, E> Future for TransportFuture<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T, E> fmt::Debug for TransportFuture<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportFuture").finish_non_exhaustive()
    }
}
