//! How a connection comes about: name, TCP, TLS.

use std::{fmt, io, sync::Arc, time::Duration};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, dns::GaiResolver};
use rustls::{ClientConfig, crypto::ring, pki_types::CertificateDer};
use tower::util::MapErr;

use super::{
    certificates,
    proxy::{HttpsProxy, ProxyConnector},
};

type Resolver = MapErr<GaiResolver, fn(io::Error) -> LookupError>;

pub(super) fn https(
    verify: bool,
    roots: Vec<CertificateDer<'static>>,
    timeout: Duration,
    proxy: Option<HttpsProxy>,
) -> Result<HttpsConnector<ProxyConnector<HttpConnector<Resolver>>>, rustls::Error> {
    let resolver: Resolver = MapErr::new(GaiResolver::new(), LookupError);
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    let tls = tls(verify, roots)?;
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(ProxyConnector::new(tcp, tls, proxy)))
}

fn tls(verify: bool, roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    // Given by name: the process-wide provider is the application's to choose, and may not be there.
    let provider = Arc::new(ring::default_provider());
    let verifier = if verify {
        certificates::checked(roots, &provider)?
    } else {
        crate::telemetry::certificate_verification_disabled();
        certificates::unchecked(&provider)
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// A host's name was not resolved: a cause of a failed request. (hyper-util's own error says so in its text only.)
#[derive(Debug)]
pub struct LookupError(io::Error);

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name was not resolved")
    }
}

impl std::error::Error for LookupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
