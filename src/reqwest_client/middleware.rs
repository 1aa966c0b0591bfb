//! The layer as a middleware of `reqwest-middleware`.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use http::Extensions;
use reqwest_middleware::{Error, Middleware, Next, Result};
use tokio::sync::Mutex;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    AuthRefreshLayer, ClassifyRejection, NeverReplay, ReplayPolicy, ReplayWith, TokenValidFor,
};

/// Sets the token on each request of a `reqwest_middleware::ClientWithMiddleware`, with the settings of the layer.
///
/// - A [`TokenValidFor`] among the request's extensions applies. The extensions of the response contain the
///   [`TokenInfo`](crate::TokenInfo), if the layer inserts it.
/// - Without a token, or if the destination is not allowed, the call fails with `Error::Middleware`. Its cause is this
///   crate's [`Error`](crate::Error). An error of reqwest or of another middleware is returned as it is.
/// - The module [`reqwest_client`](crate::reqwest_client) describes replays, redirects and proxies.
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
#[async_trait]
impl<C> Middleware for AuthRefreshLayer<NeverReplay, C>
where
    C: ClassifyRejection + Clone + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        call(self, request, extensions, next).await
    }
}

/// Works as without replay. A replay passes through the rest of the chain again, with the same extensions.
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
#[async_trait]
impl<F, C> Middleware for AuthRefreshLayer<ReplayWith<F>, C>
where
    F: Fn(&reqwest::Request) -> Option<reqwest::Request> + Clone + Send + Sync + 'static,
    C: ClassifyRejection + Clone + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        call(self, request, extensions, next).await
    }
}

/// Runs the layer over the rest of the chain.
async fn call<P, C>(
    layer: &AuthRefreshLayer<P, C>,
    request: reqwest::Request,
    extensions: &mut Extensions,
    next: Next<'_>,
) -> Result<reqwest::Response>
where
    P: ReplayPolicy<reqwest::Request, Body = reqwest::Request> + Clone,
    C: ClassifyRejection + Clone,
{
    let request = request_into_http(request, extensions.get())?;
    let extensions = Mutex::new(extensions);
    let mut service = layer.layer(NextService { next, extensions: &extensions });
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(into_error)?;
    service.call(request).await.map(response_from_http).map_err(into_error)
}

/// The rest of the chain, as a service. It runs once for each attempt, one after another.
#[derive(Clone)]
struct NextService<'a> {
    next: Next<'a>,
    extensions: &'a Mutex<&'a mut Extensions>,
}

impl<'a> Service<http::Request<reqwest::Request>> for NextService<'a> {
    type Response = http::Response<reqwest::Response>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send + 'a>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<reqwest::Request>) -> Self::Future {
        let Self { next, extensions } = self.clone();
        Box::pin(async move {
            let mut extensions = extensions.lock().await;
            next.run(request_from_http(request), &mut extensions).await.map(response_into_http)
        })
    }
}

/// Moves the headers to where the layer reads and sets them. The rest of reqwest's request is the body.
fn request_into_http(
    mut request: reqwest::Request,
    min_token_life: Option<&TokenValidFor>,
) -> Result<http::Request<reqwest::Request>> {
    let uri = request.url().as_str().parse::<http::Uri>().map_err(Error::middleware)?;
    let (method, headers) = (request.method().clone(), mem::take(request.headers_mut()));
    let mut http = http::Request::new(request);
    *http.method_mut() = method;
    *http.uri_mut() = uri;
    *http.headers_mut() = headers;
    if let Some(min) = min_token_life {
        http.extensions_mut().insert(*min);
    }
    Ok(http)
}

fn request_from_http(request: http::Request<reqwest::Request>) -> reqwest::Request {
    let (head, mut request) = request.into_parts();
    *request.headers_mut() = head.headers;
    request
}

fn response_into_http(mut response: reqwest::Response) -> http::Response<reqwest::Response> {
    let (status, headers) = (response.status(), mem::take(response.headers_mut()));
    let mut http = http::Response::new(response);
    *http.status_mut() = status;
    *http.headers_mut() = headers;
    http
}

fn response_from_http(response: http::Response<reqwest::Response>) -> reqwest::Response {
    let (head, mut response) = response.into_parts();
    *response.headers_mut() = head.headers;
    response.extensions_mut().extend(head.extensions);
    response
}

/// Returns an error of the chain as it was.
fn into_error(error: crate::Error) -> Error {
    match error {
        crate::Error::Inner(inner) => match inner.downcast() {
            Ok(error) => *error,
            Err(inner) => Error::middleware(crate::Error::Inner(inner)),
        },
        error => Error::middleware(error),
    }
}
