//! [`Form`]: the body of a token request.

use bytes::Bytes;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

/// Parameters in form encoding (RFC 6749, appendix B). The body is wiped when its last clone is dropped.
#[derive(Default)]
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Sets a parameter.
    ///
    /// A server rejects repeated parameters (RFC 6749, section 3.2), except `audience` and `resource` (RFC 8693,
    /// section 2.1; RFC 8707, section 2).
    pub(super) fn push(&mut self, name: &str, value: &str) {
        if !matches!(name, "audience" | "resource") {
            self.0.retain(|(there, _)| there != name);
        }
        self.0.push((name.to_owned(), Zeroizing::new(value.to_owned())));
    }

    pub(super) fn encode(&self) -> Bytes {
        // A byte becomes at most three. With enough capacity, the buffer never moves and leaves no copy behind.
        let capacity = self.0.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut body = Serializer::new(String::with_capacity(capacity));
        for (name, value) in &self.0 {
            body.append_pair(name, value);
        }
        Bytes::from_owner(Zeroizing::new(body.finish().into_bytes()))
    }
}
