//! [`SigningKey`]: what signs assertions.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde::Serialize;

/// A key that signs JWTs (RFC 7515), by one algorithm. Clones share it.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<Key>,
    /// As RFC 7518, section 3.1, has it.
    algorithm: &'static str,
    id: Option<String>,
}

enum Key {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    fn new(key: Key, algorithm: &'static str) -> Self {
        Self { key: Arc::new(key), algorithm, id: None }
    }

    /// HMAC with SHA-256 and a secret (`HS256`).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Self {
        Self::new(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref())), "HS256")
    }

    /// RSA with PKCS #1 v1.5 padding and SHA-256 (`RS256`), of 2,048 bits at least: a private key in PEM, PKCS #8
    /// (`BEGIN PRIVATE KEY`) or PKCS #1 (`BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// This is no such key.
    pub fn rs256_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::new(Key::Rsa(rsa(pem.as_ref())?, &RSA_PKCS1_SHA256), "RS256"))
    }

    /// RSA with PSS padding and SHA-256 (`PS256`); a key as for [`rs256_pem`](Self::rs256_pem).
    ///
    /// # Errors
    ///
    /// This is no such key.
    pub fn ps256_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::new(Key::Rsa(rsa(pem.as_ref())?, &RSA_PSS_SHA256), "PS256"))
    }

    /// ECDSA on the curve P-256 with SHA-256 (`ES256`): a private key in PEM, PKCS #8.
    ///
    /// # Errors
    ///
    /// This is no such key.
    pub fn es256_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::new(ecdsa(pem.as_ref(), &ECDSA_P256_SHA256_FIXED_SIGNING)?, "ES256"))
    }

    /// ECDSA on the curve P-384 with SHA-384 (`ES384`): a private key in PEM, PKCS #8.
    ///
    /// # Errors
    ///
    /// This is no such key.
    pub fn es384_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::new(ecdsa(pem.as_ref(), &ECDSA_P384_SHA384_FIXED_SIGNING)?, "ES384"))
    }

    /// Ed25519 (`EdDSA`, RFC 8037): a private key in PEM, PKCS #8.
    ///
    /// # Errors
    ///
    /// This is no such key.
    pub fn ed25519_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        let der = pkcs8(pem.as_ref())?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der()).map_err(InvalidKey::rejected)?;
        Ok(Self::new(Key::Ed25519(key), "EdDSA"))
    }

    /// The key's name (`kid`, RFC 7515, section 4.1.4), by which a server finds its other half. None unless description.
    #[must_use]
    pub fn key_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// A JWT with these claims; `None` if the key, or chance, fails.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let header = Header { alg: self.algorithm, kid: self.id.as_deref(), typ: "JWT" };
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).ok()?);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
        let signed = format!("{header}.{claims}");
        let signature = self.signature(signed.as_bytes())?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        Some(match &*self.key {
            Key::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Key::Rsa(key, padding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*padding, &random, message, &mut signature).ok()?;
                signature
            }
            Key::Ecdsa(key) => key.sign(&random, message).ok()?.as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        })
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    typ: &'a str,
}

fn der(pem: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidKey> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| InvalidKey("this is no private key in PEM".to_owned()))
}

fn pkcs8(pem: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidKey> {
    match der(pem)? {
        key @ PrivateKeyDer::Pkcs8(_) => Ok(key),
        _ => Err(InvalidKey("the private key is not in PKCS #8 (BEGIN PRIVATE KEY)".to_owned())),
    }
}

fn rsa(pem: &[u8]) -> Result<RsaKeyPair, InvalidKey> {
    let der = der(pem)?;
    let key = match &der {
        PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der.secret_der()),
        _ => RsaKeyPair::from_pkcs8(der.secret_der()),
    };
    key.map_err(InvalidKey::rejected)
}

fn ecdsa(pem: &[u8], algorithm: &'static EcdsaSigningAlgorithm) -> Result<Key, InvalidKey> {
    let der = pkcs8(pem)?;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_der(), &SystemRandom::new());
    Ok(Key::Ecdsa(key.map_err(InvalidKey::rejected)?))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A private key that cannot be used. Names the trouble, never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKey(String);

impl InvalidKey {
    fn rejected(why: ring::error::KeyRejected) -> Self {
        Self(format!("the private key cannot be used for this algorithm: {why}"))
    }

    pub(super) fn signing_failed() -> Self {
        Self("the private key did not sign".to_owned())
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidKey {}
