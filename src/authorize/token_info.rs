//! Which token a request was sent with, for who must know; and how long it must live, for who must say.

use std::time::Duration;

use http::Extensions;

use crate::{Expiry, refresh::Lease};

/// Which token a request was sent with: in the response's extensions, where the layer is
/// [told to](crate::AuthRefreshLayer::token_info).
///
/// For what outlives the request, such as a stream that must be opened anew before the token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// The token's generation.
    pub generation: u64,
    /// When the token ends.
    pub expiry: Expiry,
}

impl TokenInfo {
    pub(crate) fn of(lease: &Lease) -> Self {
        Self { generation: lease.generation, expiry: lease.token.expiry() }
    }
}

/// How long a request's token must live still: an extension of the request.
///
/// If the token in use ends sooner it is refreshed first, and the request waits for that. A token that lives too short all
/// the same is used if there is none better: the issuer's live no longer, or the refresh fails.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::MinTokenLife;
///
/// let request = http::Request::get("https://api.example.com/watch")
///     .extension(MinTokenLife(Duration::from_secs(600)))
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinTokenLife(pub Duration);

impl MinTokenLife {
    /// What a request says, if it does.
    #[inline]
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        if extensions.is_empty() { None } else { extensions.get().copied() }
    }
}
