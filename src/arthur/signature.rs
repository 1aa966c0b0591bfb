//! [`VerificationKey`]: verifies the signatures of tokens.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// The key with which an issuer signs its JWTs (RFC 7515). It is wiped from memory on drop. `Debug` does not show it.
///
/// Only the signature is verified. The refresher observes the expiry.
///
/// ```
/// use tower_auth_refresh::arthur::VerificationKey;
///
/// let key = VerificationKey::hs256("a secret of at least 32 bytes, as RFC 7518 requires");
/// ```
#[derive(Clone)]
pub struct VerificationKey {
    /// The algorithm's name in a JWT's header.
    algorithm: &'static str,
    verifies: fn(&[u8], &[u8], &[u8]) -> bool,
    secret: Zeroizing<Vec<u8>>,
}

impl VerificationKey {
    /// Creates a key for HMAC with SHA-256 from the issuer's secret (`HS256`, RFC 7518, section 3.2).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac("HS256", verifies::<Hmac<Sha256>>, secret.as_ref())
    }

    /// Creates a key for HMAC with SHA-384 (`HS384`).
    pub fn hs384(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac("HS384", verifies::<Hmac<Sha384>>, secret.as_ref())
    }

    /// Creates a key for HMAC with SHA-512 (`HS512`).
    pub fn hs512(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac("HS512", verifies::<Hmac<Sha512>>, secret.as_ref())
    }

    fn hmac(
        algorithm: &'static str,
        verifies: fn(&[u8], &[u8], &[u8]) -> bool,
        secret: &[u8],
    ) -> Self {
        Self { algorithm, verifies, secret: Zeroizing::new(secret.to_vec()) }
    }

    pub(super) fn verify(&self, jwt: &str) -> Result<(), Unverified> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or(Unverified::NotJwt)?;
        let (header, claims) = signed.split_once('.').ok_or(Unverified::NotJwt)?;
        if claims.contains('.') {
            return Err(Unverified::NotJwt);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Unverified::NotJwt)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| Unverified::NotJwt)?;
        // The key determines the algorithm, not the token (RFC 8725, section 3.1).
        if header.alg != self.algorithm {
            return Err(Unverified::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unverified::NotJwt)?;
        match (self.verifies)(&self.secret, signed.as_bytes(), &signature) {
            true => Ok(()),
            false => Err(Unverified::Signature),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// Compares in constant time, and accepts a signature of full length only.
fn verifies<M: Mac + KeyInit>(secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Ok(mac) = <M as KeyInit>::new_from_slice(secret) else {
        return false;
    };
    mac.chain_update(signed).verify_slice(signature).is_ok()
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Why a token is not genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unverified {
    NotJwt,
    Algorithm,
    Signature,
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJwt => "token is not a JWT",
            Self::Algorithm => "token is signed with another algorithm",
            Self::Signature => "token has a wrong signature",
        })
    }
}

impl std::error::Error for Unverified {}
