//! Connects to a server: resolves its name, connects by TCP, and negotiates TLS.

use std::{fmt, io, sync::Arc, time::Duration};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, dns::GaiResolver};
use rustls::{ClientConfig, crypto::ring, pki_types::CertificateDer};
use tower::util::MapErr;

use super::{
    proxy::{HttpsProxy, ProxyConnector},
    trust::Trust,
    verifier::CertificateVerifier,
};

type Resolver = MapErr<GaiResolver, fn(io::Error) -> DnsError>;

pub(super) type Connector = HttpsConnector<ProxyConnector<HttpConnector<Resolver>>>;

pub(super) fn connector(
    accept_invalid_certs: bool,
    roots: Vec<CertificateDer<'static>>,
    timeout: Duration,
    proxy: Option<HttpsProxy>,
) -> Result<Connector, rustls::Error> {
    let resolver: Resolver = MapErr::new(GaiResolver::new(), DnsError);
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    let tls = tls_config(accept_invalid_certs, roots)?;
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(ProxyConnector::new(tcp, tls, proxy)))
}

fn tls_config(
    accept_invalid_certs: bool,
    roots: Vec<CertificateDer<'static>>,
) -> Result<ClientConfig, rustls::Error> {
    // The process-wide provider belongs to the application, which may not have installed one.
    let provider = Arc::new(ring::default_provider());
    let trust = if accept_invalid_certs {
        crate::telemetry::certificate_verification_disabled();
        Trust::Any
    } else {
        Trust::platform(roots, Arc::clone(&provider))?
    };
    let verifier = CertificateVerifier::new(trust, &provider);
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// The name of a host was not resolved: one of the causes of a failed request.
///
/// The error of hyper-util tells this by its text only.
///
/// ```
/// use std::error::Error;
/// use tower_auth_refresh::http_client::DnsError;
///
/// fn is_dns(error: &(dyn Error + 'static)) -> bool {
///     error.is::<DnsError>() || error.source().is_some_and(is_dns)
/// }
/// # assert!(!is_dns(&std::fmt::Error));
/// ```
#[derive(Debug)]
pub struct DnsError(io::Error);

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host name not resolved")
    }
}

impl std::error::Error for DnsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
