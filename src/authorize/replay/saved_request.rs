//! [`SavedRequest`]: a request that can be replayed.

use std::convert::Infallible;

use http::{Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// A request with a list of headers instead of a map. A list is cheaper to create, and most requests are not replayed.
#[allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "in the signature of a sealed trait"
)]
pub struct SavedRequest<B, R> {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
    body: B,
    /// Replays the request.
    pub(crate) sender: R,
}

impl<B, R> SavedRequest<B, R> {
    pub(crate) fn new<T>(request: &Request<T>, body: B, sender: R) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            extensions: request.extensions().clone(),
            body,
            sender,
        }
    }

    pub(crate) fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value)
    }

    /// Returns the request, if its body can be restored.
    pub(crate) fn restore(self, body: impl FnOnce(B) -> Option<B>) -> Option<(Request<B>, R)> {
        let mut request = Request::new(body(self.body)?);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions;
        let headers = request.headers_mut();
        headers.reserve(self.headers.len());
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        Some((request, self.sender))
    }
}

impl<B, R> From<Box<Self>> for SavedRequest<B, R> {
    fn from(saved: Box<Self>) -> Self {
        *saved
    }
}

/// No request is saved.
impl<B, R> From<Infallible> for SavedRequest<B, R> {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl<B, R> AsRef<SavedRequest<B, R>> for Infallible {
    fn as_ref(&self) -> &SavedRequest<B, R> {
        match *self {}
    }
}
