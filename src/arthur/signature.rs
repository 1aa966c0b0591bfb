//! [`VerificationKey`]: whether a token is the issuer's.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto::rust_crypto::DEFAULT_PROVIDER, decode_header};

/// The key that an issuer signs its JWTs with (RFC 7515). The key is wiped from memory on drop.
///
/// It checks the signature and nothing else: when a token ends is the refresher's concern.
#[derive(Clone)]
pub struct VerificationKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl VerificationKey {
    /// A key for HMAC with SHA-256, the issuer's secret (RFC 7518, section 3.2).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac(Algorithm::HS256, secret.as_ref())
    }

    /// A key for HMAC with SHA-384.
    pub fn hs384(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac(Algorithm::HS384, secret.as_ref())
    }

    /// A key for HMAC with SHA-512.
    pub fn hs512(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac(Algorithm::HS512, secret.as_ref())
    }

    fn hmac(algorithm: Algorithm, secret: &[u8]) -> Self {
        Self { algorithm, key: DecodingKey::from_secret(secret) }
    }

    pub(super) fn verify(&self, jwt: &str) -> Result<(), Unverified> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or(Unverified::NoJwt)?;
        let header = decode_header(jwt).map_err(|_| Unverified::NoJwt)?;
        // The key says the algorithm, not the token (RFC 8725, section 3.1).
        if header.alg != self.algorithm {
            return Err(Unverified::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unverified::NoJwt)?;
        // The provider is asked by name, since jsonwebtoken panics where the process has none, or has two.
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
            .map_err(|_| Unverified::Signature)?
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Unverified::Signature)
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why a token is not taken for genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unverified {
    NoJwt,
    Algorithm,
    Signature,
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoJwt => "it is not a JWT",
            Self::Algorithm => "it is signed with another algorithm than the key's",
            Self::Signature => "its signature does not verify",
        })
    }
}

impl std::error::Error for Unverified {}
