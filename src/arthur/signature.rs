//! [`VerificationKey`]: whether a token is the issuer's.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// The key that an issuer signs its JWTs with (RFC 7515). The key is wiped from memory on drop.
///
/// It checks the signature and nothing else: when a token ends is the refresher's concern.
#[derive(Clone)]
pub struct VerificationKey {
    /// The algorithm's name in a JWT's header.
    algorithm: &'static str,
    verifies: fn(&[u8], &[u8], &[u8]) -> bool,
    secret: Zeroizing<Vec<u8>>,
}

impl VerificationKey {
    /// A key for HMAC with SHA-256, the issuer's secret (RFC 7518, section 3.2).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac("HS256", verifies::<Hmac<Sha256>>, secret.as_ref())
    }

    /// A key for HMAC with SHA-384.
    pub fn hs384(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac("HS384", verifies::<Hmac<Sha384>>, secret.as_ref())
    }

    /// A key for HMAC with SHA-512.
    pub fn hs512(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac("HS512", verifies::<Hmac<Sha512>>, secret.as_ref())
    }

    fn hmac(algorithm: &'static str, verifies: fn(&[u8], &[u8], &[u8]) -> bool, secret: &[u8]) -> Self {
        Self { algorithm, verifies, secret: Zeroizing::new(secret.to_vec()) }
    }

    pub(super) fn verify(&self, jwt: &str) -> Result<(), Unverified> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or(Unverified::NoJwt)?;
        let (header, claims) = signed.split_once('.').ok_or(Unverified::NoJwt)?;
        if claims.contains('.') {
            return Err(Unverified::NoJwt);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Unverified::NoJwt)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| Unverified::NoJwt)?;
        // The key says the algorithm, not the token (RFC 8725, section 3.1).
        if header.alg != self.algorithm {
            return Err(Unverified::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unverified::NoJwt)?;
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

/// In constant time, and only for a signature of full length.
fn verifies<M: Mac + KeyInit>(secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Ok(mac) = <M as KeyInit>::new_from_slice(secret) else {
        return false;
    };
    mac.chain_update(signed).verify_slice(signature).is_ok()
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
