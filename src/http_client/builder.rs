//! [`HttpClientBuilder`]: the stack of layers, on one screen.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::CertificateDer;
use tower::{ServiceBuilder, util::BoxCloneSyncService};
use tower_http::{
    ServiceBuilderExt,
    follow_redirect::{
        FollowRedirectLayer,
        policy::{Limited, Policy, PolicyExt, SameOrigin, clone_body_fn},
    },
};

use super::{HttpClient, connector, proxy::HttpsProxy};
use crate::BoxError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;

/// Builds an [`HttpClient`].
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpClientBuilder {
    verify_ssl: bool,
    roots: Vec<CertificateDer<'static>>,
    connect_timeout: Duration,
    https_proxy: Option<HttpsProxy>,
}

impl Default for HttpClientBuilder {
    fn default() -> Self {
        Self { verify_ssl: true, roots: Vec::new(), connect_timeout: CONNECT_TIMEOUT, https_proxy: None }
    }
}

impl HttpClientBuilder {
    /// Whether a server must show a certificate that is valid for its name; `true` unless said.
    ///
    /// With `false`, anybody on the way can pose as the server and read passwords and tokens. It is for tests;
    /// [adding the server's root certificate](Self::add_root_certificate) does the same safely. A warning is logged when
    /// the client is built.
    pub fn verify_ssl(mut self, verify: bool) -> Self {
        self.verify_ssl = verify;
        self
    }

    /// Trusts a certificate (in DER) besides the system's roots: that of a private authority, or a self-signed one.
    pub fn add_root_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.roots.push(certificate);
        self
    }

    /// How long a TCP connection may take, over all addresses of its host; 10 seconds unless said.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets the proxy of `https` requests. Defaults to none: the client does not read the environment, unless
    /// [`HttpsProxy::from_env`] is set.
    pub fn https_proxy(mut self, proxy: HttpsProxy) -> Self {
        self.https_proxy = Some(proxy);
        self
    }

    /// Builds the client. This reads the system's trust roots, which may read files. Where there are none and none were
    /// added, a warning is logged, and every `https` request fails for its certificate; plain `http` needs none.
    ///
    /// # Errors
    ///
    /// A root that was added is not a certificate, or the system's roots cannot be used.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let Self { verify_ssl, roots, connect_timeout, https_proxy } = self;
        let connector = connector::https(verify_ssl, roots, connect_timeout, https_proxy).map_err(BuildError)?;
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let service = ServiceBuilder::new()
            .sensitive_headers([AUTHORIZATION, COOKIE, SET_COOKIE])
            .map_err(BoxError::from)
            .layer(FollowRedirectLayer::with_policy(within_origin()))
            .map_response_body(|body: Incoming| body.map_err(BoxError::from).boxed())
            .service(client);
        Ok(HttpClient(BoxCloneSyncService::new(service)))
    }
}

/// Follows within the origin, with the body where the method keeps it. Where it stops, the redirect is the answer.
fn within_origin<E>() -> impl Policy<Full<Bytes>, E> + Clone {
    let same_origin = SameOrigin::new();
    let limited = PolicyExt::and::<_, Full<Bytes>, E>(same_origin, Limited::new(MAX_REDIRECTS));
    PolicyExt::and::<_, Full<Bytes>, E>(limited, clone_body_fn(|body: &Full<Bytes>| Some(body.clone())))
}

/// Why an [`HttpClient`] could not be built.
#[derive(Debug)]
pub struct BuildError(rustls::Error);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS cannot be set up with the trust roots there are")
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
