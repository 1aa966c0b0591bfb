//! [`TokenInfo`], an extension of responses, and [`TokenValidFor`], an extension of requests.

use std::time::Duration;

use http::Extensions;

use crate::{Expiry, refresh::CachedToken};

/// Describes the token that a request was sent with: a response extension. The layer inserts it if
/// [`insert_token_info`](crate::AuthRefreshLayer::insert_token_info) is set.
///
/// Use it to replace a stream or connection before the token expires.
///
/// ```
/// use http::{Request, Response};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, Expiry, TokenInfo, login_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?.with_expiry(Expiry::Never)) });
/// let client = ServiceBuilder::new()
///     .layer(AuthRefreshLayer::with_login(login).insert_token_info(true))
///     .service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
///
/// let response = client.oneshot(Request::get("https://api.example.com/").body(())?).await?;
/// let token = response.extensions().get::<TokenInfo>().ok_or("sent without a token")?;
/// assert_eq!((token.generation, token.expires), (1, Expiry::Never));
/// # Ok(())
/// # }
/// ```
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

/// Requests a token that is valid for at least this long: a request extension.
///
/// If the current token expires sooner, the refresher logs in first. The request waits for at most
/// [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout). The layer sends the request with the current token if
/// the refresh fails, times out, or cannot help.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenValidFor(pub Duration);

impl TokenValidFor {
    /// Reads the extension of a request.
    #[inline]
    pub(crate) fn from_extensions(extensions: &Extensions) -> Option<Self> {
        if extensions.is_empty() { None } else { extensions.get().copied() }
    }
}
