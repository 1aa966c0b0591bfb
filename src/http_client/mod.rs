//! A ready-made HTTP client: hyper, rustls with the system's trust roots, and tower-http's layers.
//!
//! [`HttpClient`] is a [`Service`] for requests with a [`Full`] body, as logins send them. It takes what a login must
//! have from its client, and no more:
//!
//! * HTTP/1.1 and HTTP/2 (by ALPN), kept-alive connections, and a limit on the time to connect (10 seconds).
//! * TLS with the system's trust roots and those [added](HttpClientBuilder::add_root_certificate).
//! * Redirects are followed within the origin only (RFC 6454, section 4) and 5 times at most, so that neither a password
//!   nor a token goes elsewhere. Any other redirect is the answer. The client follows by itself, so a layer above it
//!   sees one request: what that layer added, such as a token, is sent again within the origin and nowhere else.
//! * `Authorization`, `Cookie` and `Set-Cookie` are marked [sensitive](http::HeaderValue::is_sensitive).
//! * An [`HttpsProxy`] is used if one is [set](HttpClientBuilder::https_proxy), and the environment's only if asked to.
//!   `.netrc` is not read. (On Linux, `SSL_CERT_FILE` and `SSL_CERT_DIR` say where the system's trust roots are.)
//!
//! It sets no limit on the time an answer takes: whoever asks knows his deadline, and one is enough.
//!
//! ```
//! use tower_auth_refresh::http_client::HttpClient;
//!
//! let client = HttpClient::builder().build()?;
//! # let _: HttpClient = client;
//! # Ok::<(), tower_auth_refresh::http_client::BuildError>(())
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Full, combinators::BoxBody};
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::BoxError;

mod builder;
mod certificates;
mod connector;
mod proxy;

pub use builder::{BuildError, HttpClientBuilder};
pub use connector::LookupError;
pub use proxy::{HttpsProxy, InvalidProxy};

/// The body of a response.
pub type ResponseBody = BoxBody<Bytes, BoxError>;

/// An HTTP client; see the [module](self). Clones share their connections.
#[derive(Clone)]
pub struct HttpClient(BoxCloneSyncService<Request<Full<Bytes>>, Response<ResponseBody>, BoxError>);

impl HttpClient {
    /// Starts to build a client that checks certificates against the system's trust roots.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder::default()
    }
}

impl Service<Request<Full<Bytes>>> for HttpClient {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    /// Sends the request, whose URI must be absolute. Dropping the future gives it up.
    fn call(&mut self, request: Request<Full<Bytes>>) -> ResponseFuture {
        ResponseFuture(self.0.call(request))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

type BoxFuture = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, BoxError>> + Send>>;

/// The future of [`HttpClient`].
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(BoxFuture);

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
