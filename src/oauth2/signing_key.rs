//! [`SigningKey`]: the key that signs assertions.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use serde::Serialize;
use serde_json::Value;

use super::{
    InvalidKey,
    private_key::{Curve, ecdsa, ed25519, rsa},
};

/// A key that signs JWTs with one algorithm (RFC 7515). Cloning is cheap. `Debug` does not show the key.
///
/// ```
/// use tower_auth_refresh::oauth2::{ClientAuthentication, SigningKey};
///
/// let key = SigningKey::hs256("a secret of at least 32 bytes, as RFC 7518 requires").key_id("2027-01");
/// let client = ClientAuthentication::private_key_jwt("orders", key);
/// ```
#[derive(Clone)]
#[doc(alias = "EncodingKey")]
pub struct SigningKey {
    key: Arc<Key>,
    header: BTreeMap<String, Value>,
}

enum Key {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// `algorithm` is the name in RFC 7518, section 3.1.
    fn new(key: Key, algorithm: &str) -> Self {
        let header = [("alg", algorithm), ("typ", "JWT")]
            .map(|(name, value)| (name.to_owned(), value.into()));
        Self { key: Arc::new(key), header: header.into() }
    }

    /// Creates a key for HMAC with SHA-256 from a secret (`HS256`).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Self {
        Self::new(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref())), "HS256")
    }

    /// Creates a key for RSA with PKCS #1 v1.5 padding and SHA-256 (`RS256`).
    ///
    /// The key has at least 2,048 bits. The PEM contains PKCS #8 (`BEGIN PRIVATE KEY`) or PKCS #1
    /// (`BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// The PEM contains no private key for this algorithm.
    pub fn rs256_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::new(Key::Rsa(rsa(pem.as_ref())?, &RSA_PKCS1_SHA256), "RS256"))
    }

    /// Creates a key for RSA with PSS padding and SHA-256 (`PS256`). The PEM is as for [`rs256_pem`](Self::rs256_pem).
    ///
    /// # Errors
    ///
    /// The PEM contains no private key for this algorithm.
    pub fn ps256_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::new(Key::Rsa(rsa(pem.as_ref())?, &RSA_PSS_SHA256), "PS256"))
    }

    /// Creates a key for ECDSA on the curve P-256 with SHA-256 (`ES256`).
    ///
    /// The PEM contains PKCS #8 (`BEGIN PRIVATE KEY`) or SEC 1 (`BEGIN EC PRIVATE KEY`), with or without the public key.
    ///
    /// # Errors
    ///
    /// The PEM contains no private key for this algorithm.
    pub fn es256_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        let key = ecdsa(pem.as_ref(), Curve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(Self::new(Key::Ecdsa(key), "ES256"))
    }

    /// Creates a key for ECDSA on the curve P-384 with SHA-384 (`ES384`). The PEM is as for
    /// [`es256_pem`](Self::es256_pem).
    ///
    /// # Errors
    ///
    /// The PEM contains no private key for this algorithm.
    pub fn es384_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        let key = ecdsa(pem.as_ref(), Curve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING)?;
        Ok(Self::new(Key::Ecdsa(key), "ES384"))
    }

    /// Creates a key for Ed25519 (`EdDSA`, RFC 8037). The PEM contains PKCS #8 (`BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// The PEM contains no private key for this algorithm.
    pub fn ed25519_pem(pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::new(Key::Ed25519(ed25519(pem.as_ref())?), "EdDSA"))
    }

    /// Sets the key's name, by which the server finds the public key (`kid`, RFC 7515, section 4.1.4). Defaults to none.
    #[must_use]
    pub fn key_id(self, id: impl Into<String>) -> Self {
        self.header_field("kid", id.into())
    }

    /// Sets a field of the JWT's header (RFC 7515, section 4.1), such as `x5t`, `x5t#S256` or `typ`.
    ///
    /// Defaults to `alg` and, with the value `JWT`, `typ`. The field `alg` follows from the key and cannot be set.
    ///
    /// ```
    /// use tower_auth_refresh::oauth2::SigningKey;
    ///
    /// // The base64url of the SHA-256 of the certificate in DER, as Entra ID requires it.
    /// let key = SigningKey::hs256("a secret of at least 32 bytes, as RFC 7518 requires")
    ///     .header_field("x5t#S256", "A7lH0vQvN2bVmVhYQ0F0v4vQnqg3q1b6k8xY0zF3h5k");
    /// ```
    #[must_use]
    pub fn header_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if name != "alg" {
            self.header.insert(name, value.into());
        }
        self
    }

    /// Returns a JWT with these claims, or `None` if the key or the random generator fails.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self.header).ok()?);
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

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("header", &self.header).finish_non_exhaustive()
    }
}
