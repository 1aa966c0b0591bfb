//! [`HttpsProxy`]: which `https` requests go through a proxy. [`ProxyConnector`] connects through it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Uri, uri::Scheme};
use hyper::rt::{Read, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::{
    legacy::connect::{Connection, proxy::Tunnel},
    proxy::matcher::{Intercept, Matcher},
};
use rustls::ClientConfig;
use tower::ServiceExt;
use tower_service::Service;

use crate::BoxError;

/// A proxy for `https` requests, and the hosts that are reached without it.
///
/// The client requests a tunnel from the proxy (`CONNECT`, RFC 9110, section 9.3.6). TLS runs through the tunnel, so
/// the proxy sees the host and the port, but no password and no token. A request in plaintext never uses the proxy,
/// because the proxy would see all of it.
///
/// A user name and a password in the proxy's URL are sent to the proxy as basic authentication.
///
/// ```
/// use tower_auth_refresh::http_client::{HttpClient, HttpsProxy};
///
/// let proxy = HttpsProxy::new("http://proxy.example.com:3128", "localhost,.internal,10.0.0.0/8")?;
/// let client = HttpClient::builder().https_proxy(proxy).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpsProxy(Arc<Matcher>);

impl HttpsProxy {
    /// Creates a proxy from its URL and a list of hosts that are reached without it.
    ///
    /// The list is as in `NO_PROXY`: hosts, domains, IP addresses and networks, separated by commas.
    ///
    /// ```
    /// use tower_auth_refresh::http_client::HttpsProxy;
    ///
    /// let error = HttpsProxy::new("socks5://proxy.example.com:1080", "").unwrap_err();
    /// assert_eq!(error.to_string(), "proxy is not an http or https URL");
    /// ```
    ///
    /// # Errors
    ///
    /// The URL is invalid, or its scheme is neither `http` nor `https`.
    pub fn new(url: &str, no_proxy: &str) -> Result<Self, InvalidProxy> {
        let any = Matcher::builder()
            .https(url)
            .build()
            .intercept(&Uri::from_static("https://example.com/"));
        if !any.is_some_and(|proxy| is_supported(&proxy)) {
            return Err(InvalidProxy);
        }
        Ok(Self(Arc::new(Matcher::builder().https(url).no(no_proxy).build())))
    }

    /// Reads the environment: `HTTPS_PROXY` or else `ALL_PROXY`, and `NO_PROXY`, each also in lower case.
    ///
    /// Without these variables, or with an invalid URL, no request uses a proxy. With a proxy of an unsupported scheme,
    /// such as `socks5`, requests fail. In a CGI process (`REQUEST_METHOD` is set) no request uses a proxy.
    pub fn from_env() -> Self {
        Self(Arc::new(Matcher::from_env()))
    }

    fn intercept(&self, uri: &Uri) -> Option<Intercept> {
        if uri.scheme() == Some(&Scheme::HTTPS) { self.0.intercept(uri) } else { None }
    }
}

fn is_supported(proxy: &Intercept) -> bool {
    matches!(proxy.uri().scheme_str(), Some("http" | "https"))
}

/// The error for a proxy that is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidProxy;

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("proxy is not an http or https URL")
    }
}

impl std::error::Error for InvalidProxy {}

/// Connects to a host, or through a proxy to a tunnel to that host.
#[derive(Clone)]
pub(super) struct ProxyConnector<T> {
    tcp: T,
    /// Connects to the proxy. No ALPN, because a tunnel is requested by HTTP/1.1.
    to_proxy: HttpsConnector<T>,
    proxy: Option<HttpsProxy>,
}

impl<T: Clone> ProxyConnector<T> {
    pub(super) fn new(tcp: T, tls: ClientConfig, proxy: Option<HttpsProxy>) -> Self {
        Self { to_proxy: HttpsConnector::from((tcp.clone(), tls)), tcp, proxy }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl<T> Service<Uri> for ProxyConnector<T>
where
    T: Service<Uri> + Clone + Send + 'static,
    T::Response: Connection + Read + Write + Send + Unpin + 'static,
    T::Future: Send + 'static,
    T::Error: Into<BoxError>,
{
    type Response = MaybeHttpsStream<T::Response>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some(proxy) = self.proxy.as_ref().and_then(|proxy| proxy.intercept(&uri)) else {
            let connecting = self.tcp.call(uri);
            return Box::pin(async move {
                connecting.await.map(MaybeHttpsStream::Http).map_err(Into::into)
            });
        };
        if !is_supported(&proxy) {
            return Box::pin(async { Err(InvalidProxy.into()) });
        }
        let tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        let tunnel = match proxy.basic_auth() {
            Some(auth) => tunnel.with_auth(auth.clone()),
            None => tunnel,
        };
        Box::pin(async move { tunnel.oneshot(uri).await.map_err(Into::into) })
    }
}
