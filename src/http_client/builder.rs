//! [`HttpClientBuilder`]: the client's settings and its stack of layers.

use std::{fmt, time::Duration};

use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::CertificateDer;
use tower::{ServiceBuilder, util::BoxCloneSyncService};
use tower_http::{ServiceBuilderExt, follow_redirect::FollowRedirectLayer};

use super::{
    HttpClient, connections::Connections, connector::connector, proxy::HttpsProxy,
    redirect::RedirectPolicy,
};
use crate::BoxError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// For each scheme, host and port.
const MAX_IDLE_CONNECTIONS: usize = 32;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds an [`HttpClient`].
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::http_client::HttpClient;
///
/// let client = HttpClient::builder().connect_timeout(Duration::from_secs(3)).build()?;
/// # let _: HttpClient = client;
/// # Ok::<(), tower_auth_refresh::http_client::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpClientBuilder {
    accept_invalid_certs: bool,
    roots: Vec<CertificateDer<'static>>,
    connect_timeout: Duration,
    pool_idle_timeout: Duration,
    keep_alive_interval: Duration,
    keep_alive_timeout: Duration,
    https_proxy: Option<HttpsProxy>,
}

impl Default for HttpClientBuilder {
    fn default() -> Self {
        Self {
            accept_invalid_certs: false,
            roots: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            pool_idle_timeout: POOL_IDLE_TIMEOUT,
            keep_alive_interval: KEEP_ALIVE_INTERVAL,
            keep_alive_timeout: KEEP_ALIVE_TIMEOUT,
            https_proxy: None,
        }
    }
}

impl HttpClientBuilder {
    /// Sets whether certificates are accepted without verification. Defaults to `false`.
    ///
    /// With `true`, an attacker on the network can pose as the server and read passwords and tokens. Use it for tests
    /// only: [adding the server's certificate](Self::add_root_certificate) is the safe way. The client logs a warning
    /// when it is built.
    #[doc(alias = "verify_ssl")]
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.accept_invalid_certs = accept;
        self
    }

    /// Trusts a certificate (in DER) in addition to the system's roots.
    ///
    /// It can be the root of a private authority, or the certificate that the server itself presents, such as a
    /// self-signed one. The server's name and the certificate's dates are verified as for other certificates.
    pub fn add_root_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.roots.push(certificate);
        self
    }

    /// Sets the timeout of a TCP connect, over all addresses of the host. Defaults to 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long an unused connection stays in the pool. Defaults to 30 seconds.
    ///
    /// Choose less than the server's own timeout: a request on a connection that the server is closing fails. Requests
    /// with [`NewConnection`](super::NewConnection) do not use the pool.
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.pool_idle_timeout = timeout;
        self
    }

    /// Sets the interval of HTTP/2 pings on a connection that waits for a response (RFC 9113, section 6.7). Defaults to
    /// 20 seconds.
    ///
    /// The client sends no pings on an unused connection: some servers close a connection for such pings.
    pub fn http2_keep_alive_interval(mut self, interval: Duration) -> Self {
        self.keep_alive_interval = interval;
        self
    }

    /// Sets how long the client waits for the reply to an HTTP/2 ping. Defaults to 10 seconds.
    ///
    /// After that, the client closes the connection, and the requests on it fail.
    pub fn http2_keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// Sets the proxy of `https` requests. Defaults to none: the client does not read the environment, unless
    /// [`HttpsProxy::from_env`] is set.
    pub fn https_proxy(mut self, proxy: HttpsProxy) -> Self {
        self.https_proxy = Some(proxy);
        self
    }

    /// Builds the client. This loads the system's trust roots, which can read files.
    ///
    /// If the system has no roots and none were added, the client logs a warning, and `https` requests fail with a
    /// certificate error. Plain `http` works without roots.
    ///
    /// # Errors
    ///
    /// Fails if an added root is not a certificate, or if the system's roots cannot be used.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let connector = connector(
            self.accept_invalid_certs,
            self.roots,
            self.connect_timeout,
            self.https_proxy,
        )
        .map_err(BuildError)?;
        let mut client = Client::builder(TokioExecutor::new());
        client
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.pool_idle_timeout)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http2_keep_alive_interval(self.keep_alive_interval)
            .http2_keep_alive_timeout(self.keep_alive_timeout);
        let service = ServiceBuilder::new()
            .sensitive_headers([AUTHORIZATION, COOKIE, SET_COOKIE])
            .layer(FollowRedirectLayer::with_policy(RedirectPolicy::default()))
            .map_err(BoxError::from)
            .map_response_body(|body: Incoming| body.map_err(BoxError::from).boxed())
            .service(Connections::new(client, connector));
        Ok(HttpClient(BoxCloneSyncService::new(service)))
    }
}

/// The error of a failed [`HttpClientBuilder::build`]. Its source is the error of rustls.
///
/// ```
/// use rustls::pki_types::CertificateDer;
/// use tower_auth_refresh::http_client::{BuildError, HttpClient};
///
/// let builder = HttpClient::builder().add_root_certificate(CertificateDer::from(vec![1, 2, 3]));
/// let error: BuildError = builder.build().unwrap_err();
/// assert_eq!(error.to_string(), "TLS setup failed");
/// ```
#[derive(Debug)]
pub struct BuildError(rustls::Error);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS setup failed")
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
