//! A key for the peers that sign their request for a token; made anew, so that none lies in the repository.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use pem::Pem;

/// An RSA key in PKCS#8.
pub fn rsa_pem() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key can be written");
    pem::encode(&Pem::new("PRIVATE KEY", der.as_ref()))
}
