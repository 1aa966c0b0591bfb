//! A ready-made HTTP client: hyper, rustls with the system's trust roots, and tower-http's layers.
//!
//! [`HttpClient`] is a [`Service`] for requests with a [`Full`] body. It has what a login needs from its client:
//!
//! * **Protocols**: HTTP/1.1, and HTTP/2 where the server offers it (ALPN).
//! * **Connections**: a pool, with a limit on the time to connect and on the time that a connection is unused. HTTP/2
//!   pings detect a dead connection. Logins send their requests on [new connections](NewConnection), so they depend on
//!   no connection that the server or the network may have dropped.
//! * **TLS**: with the system's trust roots and the certificates that were
//!   [added](HttpClientBuilder::add_root_certificate). On Linux, `SSL_CERT_FILE` and `SSL_CERT_DIR` name the system's
//!   roots.
//! * **Redirects**: followed within the origin only (RFC 6454, section 4), so no password and no token goes elsewhere;
//!   at most 5 times, then the request fails with [`TooManyRedirects`]; and only if the method stays the same. So 301,
//!   302 and 303 are followed after a GET, but not after a POST, which they would turn into a GET without a body. A
//!   redirect that is not followed is the response. A layer around the client sees one request: the client sends what
//!   that layer added, such as a token, to each redirect's target within the origin.
//! * **Secrets**: `Authorization`, `Cookie` and `Set-Cookie` are marked
//!   [sensitive](http::HeaderValue::is_sensitive).
//! * **Proxies**: an [`HttpsProxy`] if one is [set](HttpClientBuilder::https_proxy). The client reads the environment's
//!   proxy variables only on request, and never `.netrc`.
//!
//! The client has no response timeout: its callers set their own.
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
mod connections;
mod connector;
mod fixed_verdict;
mod proxy;
mod redirect;

pub use builder::{BuildError, HttpClientBuilder};
#[cfg(feature = "_transport")]
pub(crate) use certificates::is_untrusted;
pub use connections::NewConnection;
pub use connector::DnsError;
pub use proxy::{HttpsProxy, InvalidProxy};
pub use redirect::TooManyRedirects;

/// The body of a response of [`HttpClient`].
pub type ResponseBody = BoxBody<Bytes, BoxError>;

/// An HTTP client; see the [module](self). Clones share their connections.
#[derive(Clone)]
pub struct HttpClient(BoxCloneSyncService<Request<Full<Bytes>>, Response<ResponseBody>, BoxError>);

impl HttpClient {
    /// Creates a builder with the default settings.
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

    /// Sends the request, whose URI must be absolute.
    ///
    /// Dropping the future cancels the request: over HTTP/1.1 its connection is closed, over HTTP/2 its stream is reset.
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
