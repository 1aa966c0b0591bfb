//! The random values of one login: the [`CodeVerifier`] and the [`State`].

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use super::error_kind::NativeAppErrorKind;

/// Returns 256 random bits as text: 43 characters that need no escape in a URL.
fn random_text() -> Result<Zeroizing<String>, NativeAppErrorKind> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| NativeAppErrorKind::NoRandomBytes)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Proves that the client that requests the tokens is the one that started the login (RFC 7636, section 4.1).
pub(super) struct CodeVerifier(Zeroizing<String>);

impl CodeVerifier {
    pub(super) fn new() -> Result<Self, NativeAppErrorKind> {
        random_text().map(Self)
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// Returns the code challenge of the method `S256` (RFC 7636, section 4.2).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.0.as_bytes()))
    }
}

/// Binds a redirect to the login that caused it (RFC 6749, section 10.12).
pub(super) struct State {
    text: Zeroizing<String>,
    /// A key for this comparison only.
    key: hmac::Key,
    tag: hmac::Tag,
}

impl State {
    pub(super) fn new() -> Result<Self, NativeAppErrorKind> {
        let text = random_text()?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| NativeAppErrorKind::NoRandomBytes)?;
        let tag = hmac::sign(&key, text.as_bytes());
        Ok(Self { text, key, tag })
    }

    pub(super) fn secret(&self) -> &str {
        &self.text
    }

    /// Compares in constant time: the time shows the equal bytes of two digests only, which have an unknown key.
    pub(super) fn matches(&self, other: &str) -> bool {
        hmac::verify(&self.key, other.as_bytes(), self.tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier =
            CodeVerifier(Zeroizing::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned()));
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn random_values_are_long_and_differ() {
        let [one, other] = [(); 2].map(|()| State::new().ok().unwrap());
        assert_eq!(one.secret().len(), 43);
        assert!(one.matches(one.secret()) && !one.matches(other.secret()));
        assert!(!one.matches("") && !one.matches(&one.secret()[..42]));
    }
}
