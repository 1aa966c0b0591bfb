//! Who a server must prove to be.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;

/// Trusts the system's roots and `roots`. Where there are none at all, nobody is trusted: that is known only once TLS is
/// spoken, so that plain HTTP on the loopback needs no roots.
pub(super) fn platform_verifier(
    roots: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let none_added = roots.is_empty();
    match Verifier::new_with_extra_roots(roots, Arc::clone(provider)) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        // So says the verifier that the system has none, of which there is no error of its own.
        Err(Error::General(_)) if none_added => {
            crate::telemetry::no_trust_roots();
            Ok(Arc::new(FixedVerdictVerifier { provider: Arc::clone(provider), verdict: reject_all }))
        }
        Err(error) => Err(error),
    }
}

/// Trusts anybody.
pub(super) fn no_verification(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(FixedVerdictVerifier { provider: Arc::clone(provider), verdict: accept_any })
}

fn accept_any() -> Result<ServerCertVerified, Error> {
    Ok(ServerCertVerified::assertion())
}

fn reject_all() -> Result<ServerCertVerified, Error> {
    Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NoRoots)))))
}

/// There is nobody to vouch for a certificate.
struct NoRoots;

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no trust roots and none were added")
    }
}

// rustls shows this one.
impl fmt::Debug for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NoRoots {}

/// Takes any certificate or none, whatever it holds. It still holds the server to the one that it takes: the handshake
/// must be signed with its key.
#[derive(Debug)]
struct FixedVerdictVerifier {
    provider: Arc<CryptoProvider>,
    verdict: fn() -> Result<ServerCertVerified, Error>,
}

impl ServerCertVerifier for FixedVerdictVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.verdict)()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
