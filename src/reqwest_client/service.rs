//! [`ReqwestService`]: reqwest's client as a service of the types of `http`.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;
use tower_service::Service;

use super::{body::into_reqwest, future::ReqwestFuture};
use crate::error::BoxError;

/// Makes `reqwest::Client` a service of [`http::Request`] and [`http::Response`].
///
/// - It accepts any body of [`Bytes`] that is `Send` and `Sync`. A [`reqwest::Body`] is sent as it is. Any other body is
///   sent as a stream, which reqwest does not send to the target of a redirect.
///   [`ReplayBuffered`](crate::ReplayBuffered) above it makes any body `Sync`.
/// - A response has a [`reqwest::Body`] and the URL that it came from. `reqwest::Response::from(response)` has that URL.
/// - The URI of a request must be absolute. Otherwise the call fails with an error of reqwest's builder.
/// - A timeout of the client or of the request applies to each call. A replay starts it again.
/// - The service is always ready if the client is a `reqwest::Client`.
///
/// Instead of `reqwest::Client`, it also accepts any service of reqwest's own types:
/// `reqwest_middleware::ClientWithMiddleware`, or a stack of tower's layers over a client. See the [module](super) for
/// redirects, proxies and an example of a stack.
///
/// ```no_run
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_auth_refresh::reqwest_client::ReqwestService;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let service = ReqwestService::new(reqwest::Client::new());
/// let request = Request::get("https://api.example.com/").body(String::new())?;
/// let response = reqwest::Response::from(service.oneshot(request).await?);
/// println!("{}: {}", response.url().clone(), response.text().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReqwestService<S = reqwest::Client> {
    client: S,
}

impl<S> ReqwestService<S> {
    /// Creates a service that sends requests with `client`.
    pub fn new(client: S) -> Self {
        Self { client }
    }
}

impl<S, B> Service<http::Request<B>> for ReqwestService<S>
where
    S: Service<reqwest::Request, Response = reqwest::Response>,
    S::Error: From<reqwest::Error>,
    B: Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<reqwest::Body>;
    type Error = S::Error;
    type Future = ReqwestFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.client.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        match reqwest::Request::try_from(request.map(into_reqwest)) {
            Ok(request) => {
                let url = request.url().clone();
                ReqwestFuture::called(self.client.call(request), url)
            }
            Err(error) => ReqwestFuture::invalid(error.into()),
        }
    }
}
