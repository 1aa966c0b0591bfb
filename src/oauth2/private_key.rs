//! Reads private keys in PEM.

use std::fmt;

use ring::{
    rand::SystemRandom,
    signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

/// The curve of an ECDSA key.
#[derive(Clone, Copy)]
pub(super) enum Curve {
    P256,
    P384,
}

pub(super) fn rsa(pem: &[u8]) -> Result<RsaKeyPair, InvalidKey> {
    let key = match &decode(pem)? {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        der => RsaKeyPair::from_pkcs8(der.secret_der()),
    };
    key.map_err(InvalidKey::rejected)
}

pub(super) fn ecdsa(
    pem: &[u8],
    curve: Curve,
    algorithm: &'static EcdsaSigningAlgorithm,
) -> Result<EcdsaKeyPair, InvalidKey> {
    let der = decode(pem)?;
    let der = with_public_key(der.secret_der(), curve).ok_or(InvalidKey(Reason::Algorithm))?;
    EcdsaKeyPair::from_pkcs8(algorithm, &der, &SystemRandom::new()).map_err(InvalidKey::rejected)
}

pub(super) fn ed25519(pem: &[u8]) -> Result<Ed25519KeyPair, InvalidKey> {
    // The public key is optional there (RFC 8410, section 7).
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(decode(pem)?.secret_der())
        .map_err(InvalidKey::rejected)
}

/// Encodes an EC key in PKCS #8 with its public key. It is optional (RFC 5915, section 3), but `ring` requires it.
fn with_public_key(der: &[u8], curve: Curve) -> Option<Zeroizing<Vec<u8>>> {
    use p256::pkcs8::EncodePrivateKey;
    let document = match curve {
        Curve::P256 => p256::SecretKey::from_der(der).ok()?.to_pkcs8_der(),
        Curve::P384 => p384::SecretKey::from_der(der).ok()?.to_pkcs8_der(),
    };
    Some(document.ok()?.to_bytes())
}

fn decode(pem: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidKey> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let contains = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
        InvalidKey(match () {
            () if contains("ENCRYPTED") => Reason::Encrypted,
            () if contains("PRIVATE KEY-----\\n") || contains("PRIVATE KEY-----\\r") => {
                Reason::EscapedLineBreaks
            }
            () if contains("BEGIN CERTIFICATE") || contains("PUBLIC KEY") => Reason::NotPrivate,
            () => Reason::NotPem,
        })
    })
}

/// The error for a private key that cannot be used. It names the cause and never the key.
///
/// ```
/// use tower_auth_refresh::oauth2::SigningKey;
///
/// let error = SigningKey::es256_pem("-----BEGIN PUBLIC KEY-----").unwrap_err();
/// assert_eq!(error.to_string(), "PEM contains a public key or a certificate, not a private key");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKey(Reason);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    NotPem,
    NotPrivate,
    Encrypted,
    EscapedLineBreaks,
    Algorithm,
    Rejected(String),
    SigningFailed,
}

impl InvalidKey {
    fn rejected(error: ring::error::KeyRejected) -> Self {
        Self(Reason::Rejected(error.to_string()))
    }

    pub(super) fn signing_failed() -> Self {
        Self(Reason::SigningFailed)
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Reason::NotPem => "PEM contains no private key",
            Reason::NotPrivate => "PEM contains a public key or a certificate, not a private key",
            Reason::Encrypted => {
                "private key is encrypted: decrypt it first, for example with `openssl pkey`"
            }
            Reason::EscapedLineBreaks => {
                "PEM contains escaped line breaks: replace each `\\n` by a line break"
            }
            Reason::Algorithm => "private key cannot be used with this algorithm",
            Reason::Rejected(cause) => {
                return write!(f, "private key cannot be used with this algorithm: {cause}");
            }
            Reason::SigningFailed => "private key failed to sign",
        })
    }
}

impl std::error::Error for InvalidKey {}
