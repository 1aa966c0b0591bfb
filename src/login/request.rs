//! [`LoginRequest`]: why the refresher needs a token. `refresh::weak` has `LoginRequest::refresher`.

use http::HeaderValue;

use super::trigger::RefreshTrigger;

/// Requests a token from a login service, and states the reason and the number of the attempt.
///
/// ```
/// use std::time::Duration;
/// use tower::service_fn;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginReason, LoginRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let login = service_fn(|request: LoginRequest| async move {
///     assert_eq!(request.reason, LoginReason::First);
///     assert_eq!(request.attempt, 1);
///     Ok::<_, BoxError>(AccessToken::bearer("s3cr3t")?.with_expires_in(Duration::from_secs(3600)))
/// });
/// assert_eq!(AuthRefresher::new(login).token().await?.header_value(), "Bearer s3cr3t");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoginRequest {
    /// Why the refresher needs a token.
    pub reason: LoginReason,
    /// The number of the attempt: 1, plus the number of logins that have failed since the last success.
    pub attempt: u32,
    trigger: RefreshTrigger,
}

impl LoginRequest {
    /// Creates a request without a refresher, to call a login service directly.
    pub fn new(reason: LoginReason) -> Self {
        Self { reason, attempt: 1, trigger: RefreshTrigger::default() }
    }

    pub(crate) fn with_trigger(reason: LoginReason, attempt: u32, trigger: RefreshTrigger) -> Self {
        Self { reason, attempt, trigger }
    }

    pub(crate) fn trigger(&self) -> &RefreshTrigger {
        &self.trigger
    }
}

/// States why the refresher needs a token.
///
/// ```
/// use tower_auth_refresh::{AccessToken, LoginReason, login_fn};
///
/// let login = login_fn(|request| async move {
///     if let LoginReason::Rejected { challenge: Some(challenge), .. } = &request.reason {
///         println!("token rejected: {challenge:?}");
///     }
///     // Only the first token may come from a cache.
///     let cached = if request.reason == LoginReason::First { Some("cached") } else { None };
///     Ok(AccessToken::bearer(cached.unwrap_or("new"))?.with_unknown_age())
/// });
/// # let _ = login;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoginReason {
    /// There has been no token yet.
    First,
    /// The current token is about to expire, or has expired.
    Expiring,
    /// A server rejected the current token, or the application [invalidated](crate::AuthRefresher::invalidate) it.
    #[non_exhaustive]
    Rejected {
        /// The `WWW-Authenticate` header of the rejection (RFC 9110, section 11.6.1), if there was one. Several headers
        /// are joined into one list.
        challenge: Option<HeaderValue>,
    },
    /// The application called [`AuthRefresher::refresh`](crate::AuthRefresher::refresh).
    Forced,
}
