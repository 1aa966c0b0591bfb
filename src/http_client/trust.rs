//! [`Trust`]: the certificates that a client accepts.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, Error, OtherError, RootCertStore,
    client::{
        danger::{ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;

#[derive(Debug)]
pub(super) enum Trust {
    /// Each certificate.
    Any,
    /// None: the system has no roots and none were added.
    NoRoots,
    /// Those of the system's roots, and the added ones.
    ///
    /// A self-signed certificate is often marked as one of an authority (`openssl req -x509` does so). A chain must not
    /// end in such a certificate (RFC 5280, section 6.1), so a verifier of chains rejects it.
    Platform { verifier: Verifier, added: Vec<CertificateDer<'static>> },
}

impl Trust {
    /// Trusts the system's roots and the `added` certificates.
    ///
    /// The client can be built without any root, because plain HTTP to the loopback needs no roots.
    pub(super) fn platform(
        added: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        match Verifier::new_with_extra_roots(added.iter().cloned(), provider) {
            Ok(verifier) => Ok(Self::Platform { verifier, added }),
            // The verifier reports with this variant that the system has no roots. It has no error type for that.
            Err(Error::General(_)) if added.is_empty() => {
                crate::telemetry::no_trust_roots();
                Ok(Self::NoRoots)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<ServerCertVerified, Error> {
        let (verifier, added) = match self {
            Self::Any => return Ok(ServerCertVerified::assertion()),
            Self::NoRoots => {
                let no_roots = CertificateError::Other(OtherError(Arc::new(NoRoots)));
                return Err(Error::InvalidCertificate(no_roots));
            }
            Self::Platform { verifier, added } => (verifier, added),
        };
        if added.iter().any(|added| added == end_entity) {
            return verify_added(end_entity, server_name, now, algorithms);
        }
        match verifier.verify_server_cert(
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
                verify_added(end_entity, server_name, now, algorithms)?;
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
            verdict => verdict,
        }
    }
}

/// Checks the dates and the name. The certificate itself is trusted, so no chain is needed.
fn verify_added(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<ServerCertVerified, Error> {
    let certificate = ParsedCertificate::try_from(certificate)?;
    let no_roots = RootCertStore::empty();
    // There are no roots, so this fails. The dates are checked first: any of the errors below means that they hold.
    match verify_server_cert_signed_by_trust_anchor(
        &certificate,
        &no_roots,
        &[],
        now,
        algorithms.all,
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

/// Returns whether the server would be trusted if its certificate, or the root of it, were added.
#[cfg(feature = "_transport")]
pub(crate) fn is_untrusted(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(error) => error.0.is::<NoRoots>(),
        _ => false,
    }
}

/// No certificate can be verified, because there are no roots.
struct NoRoots;

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("trust roots missing: none in the system and none added")
    }
}

// The error of rustls shows the `Debug` of this one.
impl fmt::Debug for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NoRoots {}
