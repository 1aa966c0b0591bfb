//! Where one layer puts tokens: on which requests, and in which header.
//!
//! What of the hot path can do without type parameters is here, compiled once, so that how well it is compiled does not
//! depend on what else is in the user's crate.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION};

use super::{UnsafeDestination, destination::Destinations};

/// Where tokens are put.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placement {
    pub(crate) destinations: Destinations,
    pub(crate) keep_existing: bool,
    /// `None`: `Authorization`.
    header: Option<HeaderName>,
}

/// Whether a request gets a token.
pub(crate) enum Verdict {
    Authorize,
    /// It goes out as it is.
    PassOn,
    /// It does not go out.
    Refuse(UnsafeDestination),
}

impl Placement {
    /// Whether every request to `https` gets a token.
    pub(crate) fn is_simple(&self) -> bool {
        !self.keep_existing && !self.destinations.is_narrowed()
    }

    pub(crate) fn is_for(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        matches!(self.judge(uri, headers), Verdict::Authorize)
    }

    pub(crate) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Verdict {
        if self.keep_existing && self.is_in(headers) {
            return Verdict::PassOn;
        }
        match self.destinations.check(uri) {
            Ok(()) => Verdict::Authorize,
            Err(_) if self.destinations.pass_on => Verdict::PassOn,
            Err(why) => Verdict::Refuse(why),
        }
    }

    /// Puts this token in its header.
    pub(crate) fn put(&self, headers: &mut HeaderMap, token: &HeaderValue) {
        match &self.header {
            // A name known at compile time is what `http` is quickest with.
            None => drop(headers.insert(AUTHORIZATION, token.clone())),
            Some(name) => drop(headers.insert(name, token.clone())),
        }
    }

    pub(crate) fn header(&self) -> HeaderName {
        self.header.clone().unwrap_or(AUTHORIZATION)
    }

    pub(crate) fn set_header(&mut self, name: HeaderName) {
        self.header = (name != AUTHORIZATION).then_some(name);
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        match &self.header {
            None => headers.contains_key(AUTHORIZATION),
            Some(name) => headers.contains_key(name),
        }
    }
}
