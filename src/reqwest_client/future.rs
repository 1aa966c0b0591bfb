//! The future of [`ReqwestService`](super::ReqwestService).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use reqwest::{ResponseBuilderExt, Url};

/// The future of [`ReqwestService`](super::ReqwestService). Dropping it cancels the request.
///
/// ```
/// use tower::Service;
/// use tower_auth_refresh::reqwest_client::{ReqwestFuture, ReqwestService};
///
/// // After `poll_ready`. A service that contains a `ReqwestService` can name its future.
/// fn send(
///     client: &mut ReqwestService,
///     request: http::Request<String>,
/// ) -> ReqwestFuture<<reqwest::Client as Service<reqwest::Request>>::Future, reqwest::Error> {
///     client.call(request)
/// }
/// ```
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReqwestFuture<F, E>(#[pin] State<F, E>);

#[pin_project(project = StateProj)]
enum State<F, E> {
    /// reqwest sends the request to this URL.
    Called(#[pin] F, Url),
    /// The request cannot be converted. `None` after the error was returned.
    Invalid(Option<E>),
}

impl<F, E> ReqwestFuture<F, E> {
    pub(super) fn called(future: F, url: Url) -> Self {
        Self(State::Called(future, url))
    }

    pub(super) fn invalid(error: E) -> Self {
        Self(State::Invalid(Some(error)))
    }
}

impl<F, E> Future for ReqwestFuture<F, E>
where
    F: Future<Output = Result<reqwest::Response, E>>,
{
    type Output = Result<http::Response<reqwest::Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            StateProj::Called(future, url) => {
                Poll::Ready(ready!(future.poll(cx)).map(|response| into_http(response, url)))
            }
            StateProj::Invalid(error) => {
                error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            }
        }
    }
}

impl<F, E> fmt::Debug for ReqwestFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}

/// A response extension: the URL that the response came from, if reqwest has followed a redirect.
#[cfg_attr(not(feature = "_transport"), allow(dead_code, reason = "only logins read it"))]
#[derive(Clone)]
pub(crate) struct RedirectedTo(pub(crate) Url);

/// Converts a response to a request of `sent_to`. reqwest's own conversion drops the URL. It is stored where the
/// conversion back reads it.
fn into_http(response: reqwest::Response, sent_to: &Url) -> http::Response<reqwest::Body> {
    let from = response.url().clone();
    let url = http::Response::builder().url(from.clone()).body(());
    let mut response = http::Response::from(response);
    if let Ok(url) = url {
        response.extensions_mut().extend(url.into_parts().0.extensions);
    }
    if from != *sent_to {
        response.extensions_mut().insert(RedirectedTo(from));
    }
    response
}
