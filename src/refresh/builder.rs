//! [`AuthRefresherBuilder`]: creates an [`AuthRefresher`] from its settings.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Handle;
use tower_service::Service;

#[cfg(feature = "keyed")]
use super::login_permits::LoginPermits;
use super::{
    core::Core,
    handle::AuthRefresher,
    schedule::Backoff,
    settings::{NoTokenPolicy, Settings},
    shared::Shared,
    state::refresh_state::Policy,
};
use crate::{
    clock::Clock, error::BoxError, login::LoginRequest, rate_limit::RateLimit,
    telemetry::Telemetry, token::AccessToken,
};

/// The longest duration that a setting accepts, so that no deadline overflows.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Configures when an [`AuthRefresher`] logs in. Every setting has a default. [`build`](Self::build) checks all
/// settings.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, LoginRequest};
///
/// let login = tower::service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") });
/// let error = AuthRefresher::builder(login).login_timeout(Duration::ZERO).build().unwrap_err();
/// assert_eq!(error.to_string(), "`login_timeout` must be more than zero");
/// ```
#[must_use]
pub struct AuthRefresherBuilder {
    core: Core,
    initial_token: Option<AccessToken>,
    policy: Policy,
    settings: Settings,
}

impl AuthRefresher {
    /// Creates a refresher with the default settings.
    ///
    /// The login service is any tower service from [`LoginRequest`] to [`AccessToken`].
    pub fn new<L>(login: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::builder(login).build_unchecked()
    }

    /// Creates a builder for a refresher with other settings.
    pub fn builder<L>(login: L) -> AuthRefresherBuilder
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        // The standard library seeds each hasher with a different number from the system.
        let rng = Box::new(|| RandomState::new().hash_one(0));
        let core = Core { login: Box::new(login), rng };
        AuthRefresherBuilder {
            core,
            initial_token: None,
            policy: Policy::default(),
            settings: Settings::default(),
        }
    }
}

impl AuthRefresherBuilder {
    /// Sets a name, such as that of the API. Defaults to none.
    ///
    /// The name is the label `refresher` of the [metrics](crate::guides::observability) (`default` without a name) and the
    /// field `refresher` of the events and spans. Name each refresher if a program has several.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.telemetry = Telemetry::named(name.into().into());
        self
    }

    /// Sets a token to start with, so that the first request does not wait for a login. Defaults to none.
    ///
    /// The token's lifetime counts from [`build`](Self::build). If a server rejects the token, the worker replaces it
    /// at once, because its age is not known.
    pub fn initial_token(mut self, token: AccessToken) -> Self {
        self.initial_token = Some(token.with_unknown_age());
        self
    }

    /// Sets what a call does if it waits and there is still no token. Defaults to [`NoTokenPolicy::Fail`].
    pub fn no_token_policy(mut self, policy: NoTokenPolicy) -> Self {
        self.settings.no_token = policy;
        self
    }

    /// Sets the time without use after which refreshes pause. Defaults to no limit: the worker refreshes the token
    /// until the last handle is dropped.
    ///
    /// Refreshes pause after at least this time, and at most one token lifetime later. The first call after a pause
    /// uses the token if it is still valid. If it is not, the call waits for a login. With zero, the worker refreshes
    /// only after a call. While refreshes pause, the refresher has no task.
    ///
    /// A refresher is not idle while it has a token whose source reports changes, such as a `FileToken`.
    pub fn pause_when_idle(mut self, after: Duration) -> Self {
        self.policy.idle_after = Some(after);
        self
    }

    /// Sets how long before its expiry a token is refreshed. Defaults to 5 minutes.
    ///
    /// The lead is at most a quarter of the token's lifetime. Requests use the current token during the refresh, and do
    /// not wait.
    pub fn refresh_before_expiry(mut self, lead: Duration) -> Self {
        self.policy.schedule.refresh_lead = lead;
        self
    }

    /// Sets whether refreshes start earlier by a random time, at most a tenth of the lifetime and 30 seconds. Defaults
    /// to `true`.
    ///
    /// Processes that started together then do not log in together.
    pub fn jitter(mut self, enabled: bool) -> Self {
        self.policy.schedule.jitter = enabled;
        self
    }

    /// Sets how long a token of [unknown expiry](crate::Expiry::Unknown) is used. Defaults to no limit: it is used
    /// until it is rejected.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.schedule.default_lifetime = Some(lifetime);
        self
    }

    /// Sets the time limit of one login. Defaults to 30 seconds.
    ///
    /// A login that exceeds it is dropped and counts as a transient failure.
    pub fn login_timeout(mut self, limit: Duration) -> Self {
        self.settings.login_timeout = limit;
        self
    }

    /// Sets how long one call can wait for a token. Defaults to 10 seconds.
    ///
    /// When a caller stops waiting, the login continues.
    pub fn wait_timeout(mut self, limit: Duration) -> Self {
        self.settings.wait_timeout = limit;
        self
    }

    /// Sets the shortest and the longest pause after a failed login. Defaults to 0.5 seconds and 60 seconds. A pause is
    /// never shorter than a millisecond.
    ///
    /// The pause doubles with each failure in a row, with jitter. An issuer's `Retry-After` extends it, to at most 5
    /// minutes. Calls without a token fail immediately during the pause. The starts of two logins are at least `min`
    /// apart, also after a success.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.policy.schedule.backoff = Backoff { min, max };
        self
    }

    /// Sets the age below which the refresher ignores rejections of a token. Defaults to 1 second, and is at most an
    /// eighth of the token's lifetime.
    ///
    /// A new token may not be valid on every server yet, and another login would not help. This age does not apply to a
    /// token of [unknown age](AccessToken::with_unknown_age).
    pub fn min_rejection_age(mut self, age: Duration) -> Self {
        self.policy.min_rejection_age = age;
        self
    }

    /// Sets how many rejections count in a period. Each of them causes a login. Defaults to 6 in 60 seconds: a burst of
    /// 6, then one every 10 seconds.
    ///
    /// An API can respond with 401 although the token is valid. A rejection beyond the limit is returned to the caller,
    /// and the token stays in use. With 0, no rejection counts.
    pub fn rejection_limit(mut self, max: u32, per: Duration) -> Self {
        self.policy.rejection_limit = RateLimit { max, per };
        self
    }

    /// Sets the wall clock. Defaults to the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Sets the random source for jitter, which must return uniformly distributed numbers. Defaults to one that the
    /// system seeds.
    pub fn rng(mut self, rng: impl FnMut() -> u64 + Send + 'static) -> Self {
        self.core.rng = Box::new(rng);
        self
    }

    /// Sets the runtime that runs the worker and the logins. Defaults to that of the call that starts the worker.
    ///
    /// Set it if calls come from runtimes that end soon, or that are not driven all the time. A current-thread runtime
    /// makes progress only inside `block_on`. The runtime needs a time driver.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.settings.runtime = Some(runtime);
        self
    }

    /// Creates the refresher. The refresher spawns nothing and does not log in before its first use, so `build` needs
    /// no runtime.
    ///
    /// # Errors
    ///
    /// A setting is not valid. The error names it.
    pub fn build(self) -> Result<AuthRefresher, InvalidSetting> {
        let settings = &self.settings;
        let Backoff { min, max } = self.policy.schedule.backoff;
        let check = |name, value: Duration| match value {
            Duration::ZERO => Err(InvalidSetting { name, reason: "must be more than zero" }),
            value if value > MAX_DURATION => {
                Err(InvalidSetting { name, reason: "must be at most 24 hours" })
            }
            _ => Ok(()),
        };
        check("login_timeout", settings.login_timeout)?;
        check("wait_timeout", settings.wait_timeout)?;
        check("backoff", min)?;
        check("backoff", max)?;
        check("rejection_limit", self.policy.rejection_limit.per)?;
        if min > max {
            return Err(InvalidSetting {
                name: "backoff",
                reason: "must have a minimum not above its maximum",
            });
        }
        if self.policy.schedule.default_lifetime == Some(Duration::ZERO) {
            return Err(InvalidSetting {
                name: "default_lifetime",
                reason: "must be more than zero",
            });
        }
        Ok(self.build_unchecked())
    }

    /// Sets what all keys of a handle share, and what applies to a key's refresher unless it is set.
    #[cfg(feature = "keyed")]
    pub(crate) fn for_key(
        mut self,
        idle_after: Duration,
        clock: Option<&Arc<dyn Clock>>,
        permits: &Arc<LoginPermits>,
        handle: &Telemetry,
    ) -> Self {
        self.policy.idle_after.get_or_insert(idle_after);
        if let Some(clock) = clock {
            self.settings.clock = clock.clone();
        }
        self.settings.login_permits = Some(permits.clone());
        self.settings.telemetry = self.settings.telemetry.for_key(handle);
        self
    }

    pub(crate) fn build_unchecked(self) -> AuthRefresher {
        let Self { core, initial_token, mut policy, settings } = self;
        if let NoTokenPolicy::ServeStale { max_stale } = settings.no_token {
            policy.schedule.max_stale = max_stale;
        }
        AuthRefresher::from_shared(Shared::new(core, initial_token, policy, settings))
    }
}

impl fmt::Debug for AuthRefresherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRefresherBuilder")
            .field("policy", &self.policy)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The error for a setting that is not valid. It names the setting.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, login_fn};
///
/// let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
/// let error = AuthRefresher::builder(login).wait_timeout(Duration::ZERO).build().unwrap_err();
/// assert_eq!(error.setting(), "wait_timeout");
/// assert_eq!(error.to_string(), "`wait_timeout` must be more than zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    name: &'static str,
    reason: &'static str,
}

impl InvalidSetting {
    #[cfg(feature = "keyed")]
    pub(crate) fn new(name: &'static str, reason: &'static str) -> Self {
        Self { name, reason }
    }

    /// Returns the name of the setting: that of the builder's method.
    pub fn setting(&self) -> &'static str {
        self.name
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.name, self.reason)
    }
}

impl std::error::Error for InvalidSetting {}
