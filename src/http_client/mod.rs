//! A ready-made HTTP client: hyper, rustls with the system's trust roots, and tower-http's layers.
//!
//! [`HttpClient`] is a [`Service`] for requests with a [`Full`] body. It meets the needs of a login:
//!
//! * **Protocols**: HTTP/1.1, and HTTP/2 where the server offers it (ALPN).
//! * **Connections**: a pool, with a limit on the time to connect and on the time that a connection is unused. HTTP/2
//!   pings detect a dead connection. Logins send their requests on [new connections](NewConnection), so they depend on
//!   no connection that the server or the network may have dropped.
//! * **TLS**: with the system's trust roots and the certificates that were
//!   [added](HttpClientBuilder::add_root_certificate). On Linux, `SSL_CERT_FILE` and `SSL_CERT_DIR` name the system's
//!   roots.
//! * **Redirects**: the client follows a redirect only within the origin (RFC 6454, section 4), so that no password and
//!   no token goes elsewhere. It follows at most 5, and then the request fails with [`TooManyRedirects`]. It does not
//!   follow a redirect that changes the method. So it follows 301, 302 and 303 after a GET, but not after a POST. If it
//!   does not follow a redirect, the redirect is the response. A layer around the client sees one request. The headers
//!   that this layer added, such as a token, go to each target within the origin.
//! * **Secrets**: `Authorization`, `Cookie` and `Set-Cookie` are marked
//!   [sensitive](http::HeaderValue::is_sensitive).
//! * **Proxies**: an [`HttpsProxy`] if one is [set](HttpClientBuilder::https_proxy). The client reads the environment's
//!   proxy variables only with [`HttpsProxy::from_env`], and never reads `.netrc`.
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
mod connections;
mod connector;
mod proxy;
mod redirect;
mod trust;
mod verifier;

pub use builder::{BuildError, HttpClientBuilder};
pub use connections::NewConnection;
pub use connector::DnsError;
pub use proxy::{HttpsProxy, InvalidProxy};
pub use redirect::TooManyRedirects;
#[cfg(feature = "_transport")]
pub(crate) use trust::is_untrusted;

/// The body of a response of [`HttpClient`].
///
/// ```
/// use http_body_util::BodyExt;
/// use tower_auth_refresh::{BoxError, http_client::ResponseBody};
///
/// async fn text(body: ResponseBody) -> Result<String, BoxError> {
///     Ok(String::from_utf8(body.collect().await?.to_bytes().into())?)
/// }
/// ```
pub type ResponseBody = BoxBody<Bytes, BoxError>;

/// Sends HTTP requests, as the [module](self) describes. Clones share their connections.
///
/// ```no_run
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::ServiceExt;
/// use tower_auth_refresh::{BoxError, http_client::HttpClient};
///
/// # async fn run() -> Result<(), BoxError> {
/// let client = HttpClient::builder().build()?;
/// let request = Request::get("https://login.example.com/").body(Full::<Bytes>::default())?;
/// println!("{}", client.oneshot(request).await?.status());
/// # Ok(())
/// # }
/// ```
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
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::Service;
/// use tower_auth_refresh::http_client::{HttpClient, ResponseFuture};
///
/// // After `poll_ready`.
/// fn send(client: &mut HttpClient, request: Request<Full<Bytes>>) -> ResponseFuture {
///     client.call(request)
/// }
/// ```
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
