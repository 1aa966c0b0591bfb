//! [`TokenInfo`], an extension of responses, and [`TokenValidFor`], an extension of requests.

use std::time::Duration;

use http::Extensions;

use crate::{Expiry, refresh::CachedToken};

/// The token that a request was sent with. The response's extensions contain it if the layer
/// [inserts](crate::AuthRefreshLayer::insert_token_info) it.
///
/// Use it for a stream or connection that outlives its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// The token's generation.
    pub generation: u64,
    /// When the token expires.
    pub expires: Expiry,
}

impl TokenInfo {
    pub(crate) fn from_token(token: &CachedToken) -> Self {
        Self { generation: token.generation, expires: token.token.expiry() }
    }
}

/// The minimum remaining lifetime that a request prefers: an extension of the request.
///
/// A token that expires sooner is refreshed first. The request waits for at most
/// [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout). It is sent with the current token if the refresh fails,
/// times out, or cannot help.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::TokenValidFor;
///
/// let request = http::Request::get("https://api.example.com/watch")
///     .extension(TokenValidFor(Duration::from_secs(600)))
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenValidFor(pub Duration);

impl TokenValidFor {
    /// Reads the extension of a request.
    #[inline]
    pub(crate) fn from_extensions(extensions: &Extensions) -> Option<Self> {
        if extensions.is_empty() { None } else { extensions.get().copied() }
    }
}
