//! [`TransportConfig`]: the limits of a request, and the local clock.

use std::{fmt, sync::Arc, time::Duration};

use crate::{Clock, SystemClock};

const BODY_LIMIT: usize = 1 << 20;

/// The settings of the HTTP requests of a ready-made login or endpoint.
///
/// [`OAuth2Login::transport_config`](crate::oauth2::OAuth2Login::transport_config) and
/// [`ArthurApi::transport_config`](crate::arthur::ArthurApi::transport_config) apply them.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::transport::TransportConfig;
///
/// let config = TransportConfig::new().timeout(Duration::from_secs(5)).body_limit(64 << 10);
/// # let _ = config;
/// ```
#[derive(Clone)]
pub struct TransportConfig {
    /// `None`: the default of the login.
    pub(super) timeout: Option<Duration>,
    pub(super) body_limit: usize,
    pub(super) clock: Arc<dyn Clock>,
}

impl TransportConfig {
    /// Creates the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self { timeout: None, body_limit: BODY_LIMIT, clock: Arc::new(SystemClock) }
    }

    /// Sets the time limit of one request, including the wait until the HTTP service is ready. Defaults to 8 seconds in
    /// OAuth 2, and to 30 seconds in the Arthur API.
    ///
    /// If the status of an error response arrives within the limit, the request fails with that status, even if the body
    /// does not arrive. Set the limit below the refresher's
    /// [`login_timeout`](crate::AuthRefresherBuilder::login_timeout) and
    /// [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout), so that the cause of a slow login is reported.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets the limit of a response's body in bytes. Defaults to 1 MiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets the local wall clock, for responses without a `Date` and for assertions. Defaults to [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TransportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportConfig")
            .field("timeout", &self.timeout)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}
