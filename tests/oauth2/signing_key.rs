//! Keys and the JWTs that they sign.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower_auth_refresh::{
    oauth2::{SignedJwt, SigningKey},
    test_util::TestClock,
};

use crate::support::{claims, log_in};

#[tokio::test]
async fn each_algorithm_signs_what_its_public_key_verifies() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let ec = |algorithm| {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        (key.serialize_pem(), key.public_key_raw().to_vec())
    };
    let (p256, p256_public) = ec(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (p384, p384_public) = ec(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (ed, ed_public) = ec(&rcgen::PKCS_ED25519);
    let rsa = include_str!("../support/rsa_test_key.pem");
    let (n, e) = rsa_public(rsa);
    let rsa_public = || DecodingKey::from_rsa_raw_components(&n, &e);
    for (key, algorithm, public) in [
        (SigningKey::hs256("s"), Algorithm::HS256, DecodingKey::from_secret(b"s")),
        (SigningKey::rs256_pem(rsa).unwrap(), Algorithm::RS256, rsa_public()),
        (SigningKey::ps256_pem(rsa).unwrap(), Algorithm::PS256, rsa_public()),
        (
            SigningKey::es256_pem(&p256).unwrap(),
            Algorithm::ES256,
            DecodingKey::from_ec_der(&p256_public),
        ),
        (
            SigningKey::es384_pem(&p384).unwrap(),
            Algorithm::ES384,
            DecodingKey::from_ec_der(&p384_public),
        ),
        (
            SigningKey::ed25519_pem(&ed).unwrap(),
            Algorithm::EdDSA,
            DecodingKey::from_ed_der(&ed_public),
        ),
    ] {
        let login = SignedJwt::new(key.key_id("k1"), "me", "it", "you").claim("scope", "a b");
        let token = log_in(login).await.unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["you"]);
        let decoded = decode::<Value>(token.secret(), &public, &validation).unwrap();
        assert_eq!(decoded.header.kid.as_deref(), Some("k1"));
        assert_eq!(
            (&decoded.claims["iss"], &decoded.claims["scope"]),
            (&json!("me"), &json!("a b")),
            "{algorithm:?}"
        );
    }
}

/// Modulus and exponent of the test key.
fn rsa_public(pem: &str) -> (Vec<u8>, Vec<u8>) {
    use ring::{rsa::PublicKeyComponents, signature::RsaKeyPair};
    use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public());
    (n, e)
}

#[test]
fn key_of_another_kind_is_rejected_and_not_shown() {
    let rsa = include_str!("../support/rsa_test_key.pem");
    let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (error, cause) in [
        (SigningKey::es256_pem(rsa).unwrap_err(), "cannot be used with this algorithm"),
        (SigningKey::ed25519_pem(rsa).unwrap_err(), "cannot be used with this algorithm"),
        (SigningKey::rs256_pem(&ec).unwrap_err(), "cannot be used with this algorithm"),
        (SigningKey::rs256_pem("s3cr3t").unwrap_err(), "PEM contains no private key"),
        (SigningKey::es384_pem("").unwrap_err(), "PEM contains no private key"),
    ] {
        assert!(error.to_string().contains(cause), "{error}");
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }
}

/// Keys as `openssl ec -no_public` writes them, and their public keys.
const P256_WITHOUT_PUBLIC_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCDxKGr3MIyfkYjd5cmN\n5U86qdD9I7EEBshPwUdGI2vV3g==\n-----END PRIVATE KEY-----\n";
const P256_PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgi8tM5Qy13pPhFPswSzlOUE7edxLPVTabOO45APJp94PvUrOpLlNxTmwWWoAzv9JBWCdiXdXDs/DhYRzzJ57CA==";
const P384_WITHOUT_PUBLIC_KEY: &str = "-----BEGIN PRIVATE KEY-----\nME4CAQAwEAYHKoZIzj0CAQYFK4EEACIENzA1AgEBBDB34y5mzuUFU4dtooB1vMrC\n5b71qQQfDDhQEqUEFN4ttjaTZClm5nyF3YxNFuJEK24=\n-----END PRIVATE KEY-----\n";
const P384_PUBLIC: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE5QjpAL1sMhxJPLA+Codlbw3M742U0fFBcdAmLFNHZrzJmH4lwJQoESbQtgBBMZeTyxszDfeVOBbjOnmAWe6Ky9QLG3bBnOXh8B/xO5U6mD1AT5r0zSD7KNm5zKiQFwFS";
/// The P-256 key in SEC 1.
const P256_SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIPEoavcwjJ+RiN3lyY3lTzqp0P0jsQQGyE/BR0Yja9XeoAoGCCqGSM49\nAwEHoUQDQgAEgi8tM5Qy13pPhFPswSzlOUE7edxLPVTabOO45APJp94PvUrOpLlN\nxTmwWWoAzv9JBWCdiXdXDs/DhYRzzJ57CA==\n-----END EC PRIVATE KEY-----\n";
/// The P-256 key, encrypted with the password `x`.
const P256_ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjsRyrUYSSVIwICCAAw\nDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJFAe4Np/UQ5556bsVeU/ZIEgZBI\nJ5EXdvzVOKLWh9ZSSHPFMTk6r9A7ork77veFJ+z7Bd+9CPHvsKuuuRyNv1cxzPeZ\njo/unIiJrvocuFrXN1m8A3UxuUy2NP3XiHhZHMJ+jq9AwP2bpMxmwOdPb4R07V9A\nPlxMb4kXiBLCV6c3/OFFgwxzOQoJo8ih8TvM4IRsHfIsSkBq7mCiBGHzTzwaLug=\n-----END ENCRYPTED PRIVATE KEY-----\n";

#[tokio::test]
async fn ec_key_without_public_key_signs() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    for (key, algorithm, public) in [
        (SigningKey::es256_pem(P256_WITHOUT_PUBLIC_KEY), Algorithm::ES256, P256_PUBLIC),
        (SigningKey::es256_pem(P256_SEC1), Algorithm::ES256, P256_PUBLIC),
        (SigningKey::es384_pem(P384_WITHOUT_PUBLIC_KEY), Algorithm::ES384, P384_PUBLIC),
    ] {
        let token = log_in(SignedJwt::new(key.unwrap(), "me", "it", "you")).await.unwrap();
        // The public key is the end of the SubjectPublicKeyInfo: an uncompressed point.
        let point = if algorithm == Algorithm::ES256 { 65 } else { 97 };
        let public = STANDARD.decode(public).unwrap();
        let public = DecodingKey::from_ec_der(&public[public.len() - point..]);
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["you"]);
        decode::<Value>(token.secret(), &public, &validation).unwrap();
    }
}

#[test]
fn unusable_pem_gets_an_error_that_names_the_cause() {
    let escaped = P256_WITHOUT_PUBLIC_KEY.replace('\n', "\\n");
    let rsa = include_str!("../support/rsa_test_key.pem");
    let headers =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,7AF30F04\n";
    let traditional =
        rsa.replace("BEGIN PRIVATE", "BEGIN RSA PRIVATE").replace("END PRIVATE", "END RSA PRIVATE");
    let traditional = traditional.replace("-----BEGIN RSA PRIVATE KEY-----\n", headers);
    for (pem, cause) in [
        (P256_ENCRYPTED, "private key is encrypted"),
        (&*traditional, "private key is encrypted"),
        (&*escaped, "PEM contains escaped line breaks"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "not a private key"),
    ] {
        for error in
            [SigningKey::es256_pem(pem), SigningKey::rs256_pem(pem), SigningKey::ed25519_pem(pem)]
        {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(cause), "{error}: {pem}");
        }
    }
}

#[tokio::test]
async fn header_fields_and_backdated_claims_are_signed() {
    let key = SigningKey::hs256("s").header_field("x5t#S256", "abc").header_field("typ", "at+jwt");
    let key = key.header_field("alg", "none");
    let jwt = SignedJwt::new(key, "me", "it", "you").clock(TestClock::default());
    for (jwt, issued, expires) in [
        (jwt.clone(), 1_799_999_990, 1_800_000_300),
        (
            jwt.backdate(Duration::ZERO).lifetime(Duration::from_secs(30)),
            1_800_000_000,
            1_800_000_030,
        ),
    ] {
        let (header, claims) = claims(log_in(jwt).await.unwrap().secret());
        assert_eq!(header, json!({"alg": "HS256", "typ": "at+jwt", "x5t#S256": "abc"}));
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(issued), &json!(expires)));
    }
}
