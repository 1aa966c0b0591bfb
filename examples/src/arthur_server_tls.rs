//! The Arthur server over TLS with HTTP/1.1 and HTTP/2, and a self-signed certificate.

use std::{io, sync::Arc};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::arthur_server::{Config, Server};

/// Starts a server with a certificate for `localhost` and `127.0.0.1`. Returns the certificate, for a client to trust.
///
/// # Errors
///
/// The port is in use, or the certificate cannot be generated.
pub fn start(config: Config) -> io::Result<(Server, CertificateDer<'static>)> {
    let (certificate, acceptor) = self_signed()?;
    let server = Server::start_with("https", config, move |stream, api| {
        let handshake = acceptor.accept(stream);
        async move {
            // Errors concern only the client.
            if let Ok(stream) = handshake.await {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), api)
                    .await;
            }
        }
    })?;
    Ok((server, certificate))
}

fn self_signed() -> io::Result<(CertificateDer<'static>, TlsAcceptor)> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let certificate = certified.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((certificate, TlsAcceptor::from(Arc::new(config))))
}
