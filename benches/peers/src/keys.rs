//! Generates the key for peers that sign their token request, so that the repository contains no key.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use pem::Pem;

/// Returns an RSA key in PKCS #8.
pub fn rsa_pem() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key can be written");
    pem::encode(&Pem::new("PRIVATE KEY", der.as_ref()))
}
