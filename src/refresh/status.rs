//! [`Status`]: a snapshot of a refresher.

use std::time::SystemTime;

#[cfg(feature = "serde")]
use serde::{Serialize, Serializer, ser::SerializeStruct};

#[cfg(feature = "serde")]
use crate::{error::message, expiry::unix_seconds};
use crate::{expiry::Expiry, login::LoginError};

/// Describes a refresher at one moment. It contains no secret.
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
///
/// # Serialization
///
/// With the feature `serde`, a status implements `Serialize`, for example for a health check. In JSON:
///
/// ```json
/// {
///   "state": "refreshing",
///   "issued_at": 1800000000,
///   "expires": { "at": 1800003600 },
///   "generation": 7,
///   "consecutive_failures": 2,
///   "last_error": { "permanent": false, "message": "login failed: issuer unavailable" }
/// }
/// ```
///
/// `issued_at` is the number of whole seconds since 1970. `issued_at`, `expires` and `last_error` can be `null`.
/// `message` is the error with all its causes. It contains no secret that this crate knows, but can contain details of
/// the issuer. Later versions can add fields.
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

/// States what a refresher is doing.
///
/// With the feature `serde`, it serializes as a string: `"idle"`, `"logging_in"`, `"ready"`, `"refreshing"`, `"stale"`,
/// `"failed"` or `"shut_down"`.
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
    /// No worker refreshes the token. Either there was no call yet, or [refreshes
    /// pause](crate::AuthRefresherBuilder::pause_when_idle), or the worker's runtime has shut down. The next call
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
    /// There is no token because logins fail. This state is not final: the next login starts after a pause. After a
    /// permanent failure, it starts only if a call needs a token.
    Failed,
    /// The application has [shut down](crate::AuthRefresher::shutdown) the refresher.
    ShutDown,
}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut status = serializer.serialize_struct("Status", 6)?;
        status.serialize_field("state", &self.state)?;
        status.serialize_field("issued_at", &self.issued_at.map(unix_seconds))?;
        status.serialize_field("expires", &self.expires)?;
        status.serialize_field("generation", &self.generation)?;
        status.serialize_field("consecutive_failures", &self.consecutive_failures)?;
        status.serialize_field("last_error", &self.last_error.as_ref().map(SerializedError))?;
        status.end()
    }
}

#[cfg(feature = "serde")]
struct SerializedError<'a>(&'a LoginError);

#[cfg(feature = "serde")]
impl Serialize for SerializedError<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut error = serializer.serialize_struct("LoginError", 2)?;
        error.serialize_field("permanent", &self.0.is_permanent())?;
        error.serialize_field("message", &message(self.0))?;
        error.end()
    }
}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (index, name) = match self {
            Self::Idle => (0, "idle"),
            Self::LoggingIn => (1, "logging_in"),
            Self::Ready => (2, "ready"),
            Self::Refreshing => (3, "refreshing"),
            Self::Stale => (4, "stale"),
            Self::Failed => (5, "failed"),
            Self::ShutDown => (6, "shut_down"),
        };
        serializer.serialize_unit_variant("State", index, name)
    }
}
