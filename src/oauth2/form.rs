//! [`Form`]: the body of a token request.

use bytes::Bytes;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

/// Parameters in the form encoding (RFC 6749, appendix B). The body is wiped when its last clone is dropped.
#[derive(Default)]
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// A server refuses a parameter that comes twice (RFC 6749, section 3.2), but for those that may (RFC 8693, section 2.1;
    /// RFC 8707, section 2).
    pub(super) fn push(&mut self, name: &str, value: &str) {
        if !matches!(name, "audience" | "resource") {
            self.0.retain(|(there, _)| there != name);
        }
        self.0.push((name.to_owned(), Zeroizing::new(value.to_owned())));
    }

    pub(super) fn encode(&self) -> Bytes {
        // A byte takes three at most. With the room there from the start, nothing is moved and left behind.
        let room = self.0.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut body = Serializer::new(String::with_capacity(room));
        for (name, value) in &self.0 {
            body.append_pair(name, value);
        }
        Bytes::from_owner(Zeroizing::new(body.finish().into_bytes()))
    }
}
