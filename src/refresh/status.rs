//! [`Status`]: what is visible of a refresher.

use std::time::SystemTime;

use crate::{expiry::Expiry, login::LoginError};

/// A snapshot of a refresher. It contains no secret.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefresher, LoginRequest, State};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let refresher = AuthRefresher::new(tower::service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") }));
/// assert_eq!(refresher.status().state, State::Idle);
/// refresher.ready().await?;
/// assert_eq!(refresher.status().state, State::Ready);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What the refresher is doing.
    pub state: State,
    /// When the login of the newest token was sent, by the wall clock; `None` before the first token.
    pub issued_at: Option<SystemTime>,
    /// When the newest token expires; `None` before the first token.
    pub expires: Option<Expiry>,
    /// The generation of the newest token; 0 before the first.
    pub generation: u64,
    /// The number of logins that have failed since the last success.
    pub consecutive_failures: u32,
    /// The error of the last login; `None` after a success.
    pub last_error: Option<LoginError>,
}

/// What a refresher is doing.
///
/// ```
/// use tower_auth_refresh::{AuthRefresher, State};
///
/// /// For a readiness probe: whether requests get a token without a wait.
/// fn is_ready(refresher: &AuthRefresher) -> bool {
///     matches!(refresher.status().state, State::Ready | State::Refreshing | State::Stale)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// No worker refreshes the token. There was no request yet, or none for
    /// [a while](crate::AuthRefresherBuilder::pause_when_idle), or the worker's runtime has shut down. The next request
    /// starts a worker.
    Idle,
    /// There is no token. A login is under way or about to start.
    LoggingIn,
    /// There is a token.
    Ready,
    /// There is a token, and a login for the next one is under way.
    Refreshing,
    /// There is an expired token that is [still used](crate::NoTokenPolicy::ServeStale), whether or not a login is
    /// under way.
    Stale,
    /// There is no token because logins fail. The next login starts after a pause. After a permanent failure, it also
    /// requires a call.
    Failed,
    /// The application has [shut down](crate::AuthRefresher::shutdown) the refresher.
    ShutDown,
}
