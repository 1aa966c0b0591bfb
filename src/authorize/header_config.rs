//! [`HeaderConfig`]: which requests get a token, and in which header.
//!
//! Contains the hot path's code without type parameters. It is compiled once, so the user's crate does not affect its
//! optimization.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION};

use super::destination::{AllowedDestinations, DestinationPolicy, UnsafeDestination};

#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderConfig {
    pub(crate) destinations: AllowedDestinations,
    pub(crate) destination_policy: DestinationPolicy,
    /// A request that already has the header is sent unchanged.
    pub(crate) if_not_present: bool,
    /// `None`: `Authorization`.
    name: Option<HeaderName>,
}

/// What happens to a request.
pub(crate) enum Decision {
    InsertToken,
    /// The request is sent without a token.
    SkipToken,
    /// The request is not sent.
    Fail(UnsafeDestination),
}

impl HeaderConfig {
    /// Returns whether this request gets a token.
    pub(crate) fn allows_fast_path(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        matches!(self.decide(uri, headers), Decision::InsertToken)
    }

    pub(crate) fn decide(&self, uri: &Uri, headers: &HeaderMap) -> Decision {
        if self.if_not_present && self.is_present(headers) {
            return Decision::SkipToken;
        }
        match self.destinations.check(uri) {
            Ok(()) => Decision::InsertToken,
            Err(error) => match self.destination_policy {
                DestinationPolicy::Fail => Decision::Fail(error),
                DestinationPolicy::SendUnauthenticated => Decision::SkipToken,
            },
        }
    }

    /// Inserts a clone of the token into its header.
    pub(crate) fn insert_clone(&self, headers: &mut HeaderMap, token: &HeaderValue) {
        self.insert(headers, token.clone());
    }

    #[inline]
    pub(crate) fn insert(&self, headers: &mut HeaderMap, token: HeaderValue) {
        match &self.name {
            // `http` inserts a name that is known at compile time faster.
            None => drop(headers.insert(AUTHORIZATION, token)),
            Some(name) => drop(headers.insert(name, token)),
        }
    }

    pub(crate) fn name(&self) -> HeaderName {
        self.name.clone().unwrap_or(AUTHORIZATION)
    }

    pub(crate) fn set_name(&mut self, name: HeaderName) {
        self.name = (name != AUTHORIZATION).then_some(name);
    }

    fn is_present(&self, headers: &HeaderMap) -> bool {
        match &self.name {
            None => headers.contains_key(AUTHORIZATION),
            Some(name) => headers.contains_key(name),
        }
    }
}
