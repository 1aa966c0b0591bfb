//! Verifies the certificate that a server presents.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;

use super::fixed_verdict::FixedVerdictVerifier;
#[cfg(feature = "_transport")]
use super::fixed_verdict::NoRoots;

/// Trusts the system's roots and the `added` certificates.
///
/// Without any root, the verifier rejects each certificate. The client can be built even so, because plain HTTP to the
/// loopback needs no roots.
pub(super) fn platform_verifier(
    added: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let provider = Arc::clone(provider);
    match Verifier::new_with_extra_roots(added.iter().cloned(), Arc::clone(&provider)) {
        Ok(verifier) => Ok(Arc::new(AddedCertificateVerifier { added, verifier, provider })),
        // The verifier reports with this variant that the system has no roots. It has no error type for that.
        Err(Error::General(_)) if added.is_empty() => {
            crate::telemetry::no_trust_roots();
            Ok(Arc::new(FixedVerdictVerifier::reject_all(provider)))
        }
        Err(error) => Err(error),
    }
}

/// Trusts each certificate.
pub(super) fn no_verification(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(FixedVerdictVerifier::accept_any(Arc::clone(provider)))
}

/// Returns whether the server would be trusted if its certificate, or the root of it, were added.
#[cfg(feature = "_transport")]
pub(crate) fn is_untrusted(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(error) => error.0.is::<NoRoots>(),
        _ => false,
    }
}

/// Uses the platform's verifier, except for a server that presents one of the added certificates.
///
/// A self-signed certificate is often marked as one of an authority (`openssl req -x509` does so). A chain must not end
/// in such a certificate (RFC 5280, section 6.1), so a verifier of chains rejects it.
#[derive(Debug)]
struct AddedCertificateVerifier {
    added: Vec<CertificateDer<'static>>,
    verifier: Verifier,
    provider: Arc<CryptoProvider>,
}

impl AddedCertificateVerifier {
    /// Checks the dates and the name. The certificate itself is trusted, so no chain is needed.
    fn verify_added(
        &self,
        certificate: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let no_roots = RootCertStore::empty();
        // There are no roots, so this fails. The dates are checked first: any of the errors below means that they hold.
        match verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &no_roots,
            &[],
            now,
            algorithms,
        ) {
            Ok(())
            | Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) => {}
            Err(error) => return Err(error),
        }
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for AddedCertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.added.iter().any(|added| added == end_entity) {
            return self.verify_added(end_entity, server_name, now);
        }
        match self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            // The chain is checked before the name. The error must say whether adding the certificate would help.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) => {
                self.verify_added(end_entity, server_name, now)?;
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
