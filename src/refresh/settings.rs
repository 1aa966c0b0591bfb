//! The settings of one refresher, with their defaults.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::login_permits::LoginPermits;
use crate::{
    clock::{Clock, system_clock},
    telemetry::Telemetry,
};

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) login_timeout: Duration,
    pub(crate) wait_timeout: Duration,
    pub(crate) no_token: NoTokenPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    /// The runtime of the worker; `None`: that of the caller that starts it.
    pub(crate) runtime: Option<Handle>,
    pub(crate) telemetry: Telemetry,
    /// The permits that this refresher shares with others; `None`: it logs in without a permit.
    pub(crate) login_permits: Option<Arc<LoginPermits>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            login_timeout: Duration::from_secs(30),
            wait_timeout: Duration::from_secs(10),
            no_token: NoTokenPolicy::Fail,
            clock: system_clock(),
            runtime: None,
            telemetry: Telemetry::default(),
            login_permits: None,
        }
    }
}

/// Selects what a call does when there is no token. Either no login has succeeded yet, or the last token has expired
/// and logins fail.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, LoginRequest, NoTokenPolicy};
///
/// let login = tower::service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") });
/// let refresher = AuthRefresher::builder(login)
///     .no_token_policy(NoTokenPolicy::ServeStale { max_stale: Duration::from_secs(600) })
///     .build()?;
/// # Ok::<(), tower_auth_refresh::InvalidSetting>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoTokenPolicy {
    /// The call fails with [`Error::Login`](crate::Error::Login). The request is not sent.
    #[default]
    Fail,
    /// The call waits for a token as usual. If there is none, the request is sent without a token.
    SendUnauthenticated,
    /// The request is sent with an expired token for a limited time, for servers that accept it. After that time, and
    /// before the first token, the call fails.
    ServeStale {
        /// The longest time for which an expired token is used, counted from its expiry.
        max_stale: Duration,
    },
}
