//! [`FixedVerdictVerifier`]: a verifier that does not look at the certificate.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Accepts or rejects all certificates. An accepted server must still sign the handshake with the key of the certificate
/// that it presents.
#[derive(Debug)]
pub(super) struct FixedVerdictVerifier {
    provider: Arc<CryptoProvider>,
    verdict: fn() -> Result<ServerCertVerified, Error>,
}

impl FixedVerdictVerifier {
    pub(super) fn accept_any(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, verdict: || Ok(ServerCertVerified::assertion()) }
    }

    /// Rejects with [`NoRoots`].
    pub(super) fn reject_all(provider: Arc<CryptoProvider>) -> Self {
        let verdict = || {
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NoRoots)))))
        };
        Self { provider, verdict }
    }
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
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// No root can vouch for a certificate.
pub(super) struct NoRoots;

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no trust roots and none were added")
    }
}

// The error of rustls shows the `Debug` of this one.
impl fmt::Debug for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NoRoots {}
