//! [`AuthRefreshersBuilder`]: creates an [`AuthRefreshers`] from its settings.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::{
    creations::Factory,
    handle::AuthRefreshers,
    shared::{KeySettings, Shared},
};
use crate::{
    clock::Clock,
    error::BoxError,
    rate_limit::RateLimit,
    refresh::{AuthRefresherBuilder, InvalidSetting, LoginPermits, MAX_DURATION},
    telemetry::Telemetry,
};

/// The largest number that a setting accepts, so that no computation overflows.
const MAX_COUNT: usize = 1 << 30;

/// Configures an [`AuthRefreshers`]. Every setting has a default; [`build`](Self::build) checks them all.
///
/// The settings of each key's refresher are those of the builder that the factory returns.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, AuthRefreshers, LoginRequest};
///
/// let refreshers = AuthRefreshers::builder(|_: &String| {
///     AuthRefresher::builder(tower::service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") }))
///         .refresh_before_expiry(Duration::from_secs(60))
/// })
/// .name("tenants")
/// .capacity(50_000)
/// .logins_at_once(8)
/// .new_keys(100, Duration::from_secs(60))
/// .build()?;
/// assert!(refreshers.is_empty());
/// # Ok::<(), tower_auth_refresh::InvalidSetting>(())
/// ```
#[must_use]
pub struct AuthRefreshersBuilder<K> {
    factory: Factory<K>,
    capacity: usize,
    logins_at_once: usize,
    new_keys: Option<RateLimit>,
    pause_when_idle: Duration,
    clock: Option<Arc<dyn Clock>>,
    telemetry: Telemetry,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> AuthRefreshers<K> {
    /// Creates a builder. The factory returns the builder of a key's refresher, which has the key's login service.
    ///
    /// The factory runs when a key is first used, and again after the key was evicted or
    /// [forgotten](AuthRefreshers::forget). It runs on the thread of the caller, so it must not block.
    ///
    /// The factory can use the handle itself, for other keys. If it stores the handle, neither is dropped before
    /// [`shutdown`](AuthRefreshers::shutdown), which drops the factory.
    pub fn builder(
        factory: impl Fn(&K) -> AuthRefresherBuilder + Send + Sync + 'static,
    ) -> AuthRefreshersBuilder<K> {
        AuthRefreshersBuilder::new(Arc::new(move |key: &K| Ok(factory(key))))
    }

    /// Creates a builder with a factory that can fail, for example because the tenant is not known.
    ///
    /// A failure is not stored: the next call for the key calls the factory again. So a factory that is expensive must
    /// store its failures itself, because attackers may choose the keys.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use tower_auth_refresh::{AccessToken, AuthRefresher, AuthRefreshers, LoginRequest};
    ///
    /// let secrets = HashMap::from([("acme", "s3cr3t")]);
    /// let refreshers = AuthRefreshers::try_builder(move |tenant: &&'static str| {
    ///     let secret = *secrets.get(tenant).ok_or("tenant not known")?;
    ///     let login = tower::service_fn(move |_: LoginRequest| async move { AccessToken::bearer(secret) });
    ///     Ok::<_, &'static str>(AuthRefresher::builder(login))
    /// })
    /// .build()?;
    /// assert!(refreshers.get(&"acme").is_ok());
    /// assert!(refreshers.get(&"other").unwrap_err().is_factory_failure());
    /// # Ok::<(), tower_auth_refresh::InvalidSetting>(())
    /// ```
    pub fn try_builder<E: Into<BoxError>>(
        factory: impl Fn(&K) -> Result<AuthRefresherBuilder, E> + Send + Sync + 'static,
    ) -> AuthRefreshersBuilder<K> {
        AuthRefreshersBuilder::new(Arc::new(move |key: &K| factory(key).map_err(Into::into)))
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> AuthRefreshersBuilder<K> {
    fn new(factory: Factory<K>) -> Self {
        Self {
            factory,
            capacity: 1_000,
            logins_at_once: 16,
            new_keys: None,
            pause_when_idle: Duration::from_secs(15 * 60),
            clock: None,
            telemetry: Telemetry::default(),
        }
    }

    /// Sets a name, such as that of the API. Defaults to none.
    ///
    /// The name is the label `refresher` of the [metrics](crate::guides::observability) of all keys together. No label is for
    /// one key, because keys are many and can be personal data. Events have the field `refresher` with this name, or
    /// with that of the [builder](AuthRefresherBuilder::name) that the factory returns.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.telemetry = Telemetry::named(name.into().into());
        self
    }

    /// Sets the largest number of keys that have a refresher. Defaults to 1,000.
    ///
    /// Only keys that are in use exceed it. A key is in use while its login is under way, while a call waits for its
    /// token, while it is the last key of a service, and while the program has its refresher. Later new keys evict it,
    /// when it is no longer in use. If more keys are in use than the capacity, each new key costs time in proportion to
    /// their number.
    ///
    /// - The cache consists of parts of equal size, and a key belongs to one of them. A part can be full before the
    ///   cache is, and then a key is evicted early. Set the capacity at least a tenth above the number of keys that are
    ///   usually in use.
    /// - The key that has not been used recently is evicted first. Calls in a row for one key by one service count as one
    ///   use.
    pub fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// Sets how many logins can be under way at the same time. Defaults to 16.
    ///
    /// The others wait in line, in order of arrival. Their [`login_timeout`](AuthRefresherBuilder::login_timeout) does
    /// not include this wait, but a call's [`wait_timeout`](AuthRefresherBuilder::wait_timeout) does.
    ///
    /// A slow issuer does not delay keys of others that have logged in before. A login is slow if it takes more than a
    /// third of its `login_timeout`:
    ///
    /// - Keys whose last login was slow use at most a quarter of the permits, and at least one.
    /// - While there are slow logins, a quarter of the permits, rounded down, is reserved for keys whose last login was
    ///   quick.
    ///
    /// # Limits
    ///
    /// A new key is neither slow nor quick, and an evicted key is new again. If an issuer does not respond, its new
    /// keys hold three quarters of the permits, each for its `login_timeout`. With the defaults, one such key every 2.5
    /// seconds is enough. New keys of other issuers then wait in line, and their calls can exceed `wait_timeout`. To
    /// prevent that:
    ///
    /// - Use a separate handle for issuers that may not respond, such as those that tenants choose.
    /// - Set a shorter `login_timeout`, more permits, or a limit on [new keys](Self::new_keys).
    ///
    /// A login whose runtime stands still keeps its permit until its time limit.
    pub fn logins_at_once(mut self, max: usize) -> Self {
        self.logins_at_once = max;
        self
    }

    /// Sets how many keys get a refresher in a period. Defaults to no limit.
    ///
    /// Set it if clients choose the key: each new key costs a login, and can evict another key. The limit allows a
    /// burst of `max` keys, and then one every `per / max`. With 0, no new key gets a refresher.
    ///
    /// - A key that was evicted or forgotten is new again.
    /// - A key counts once, however many calls need it at the same time.
    /// - A key does not count if the factory fails for it. So the limit does not protect a factory that is expensive.
    ///   Beyond the limit, the factory is not called.
    pub fn new_keys(mut self, max: u32, per: Duration) -> Self {
        self.new_keys = Some(RateLimit { max, per });
        self
    }

    /// Sets how long a key must be unused before its refreshes pause. Defaults to 15 minutes. [`Duration::MAX`] means
    /// that they never pause.
    ///
    /// It applies to each key whose builder does not [set it](AuthRefresherBuilder::pause_when_idle).
    #[doc(alias = "never_pause")]
    pub fn pause_when_idle(mut self, after: Duration) -> Self {
        self.pause_when_idle = after;
        self
    }

    /// Sets the wall clock of all keys. Defaults to that of each key's builder, which is the system's.
    ///
    /// It replaces a [clock](AuthRefresherBuilder::clock) that the factory sets. Each clock that the factory sets costs
    /// a task, while all keys share one task for this one.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Creates the handle. It spawns nothing and calls no factory, so `build` needs no runtime.
    ///
    /// # Errors
    ///
    /// A setting is not valid. The error names it.
    pub fn build(self) -> Result<AuthRefreshers<K>, InvalidSetting> {
        let Self { factory, capacity, logins_at_once, new_keys, pause_when_idle, clock, telemetry } =
            self;
        for (name, count) in [("capacity", capacity), ("logins_at_once", logins_at_once)] {
            match count {
                0 => return Err(InvalidSetting::new(name, "must be more than zero")),
                MAX_COUNT.. => return Err(InvalidSetting::new(name, "must be less than 2^30")),
                _ => {}
            }
        }
        if new_keys.is_some_and(|limit| limit.per.is_zero() || limit.per > MAX_DURATION) {
            return Err(InvalidSetting::new(
                "new_keys",
                "must have a period above zero and at most 24 hours",
            ));
        }
        let settings = KeySettings {
            pause_when_idle,
            clock,
            login_permits: LoginPermits::new(logins_at_once),
            telemetry,
        };
        Ok(AuthRefreshers::from_shared(Shared::new(factory, settings, capacity, new_keys)))
    }
}

impl<K> fmt::Debug for AuthRefreshersBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRefreshersBuilder")
            .field("capacity", &self.capacity)
            .field("logins_at_once", &self.logins_at_once)
            .field("new_keys", &self.new_keys)
            .field("pause_when_idle", &self.pause_when_idle)
            .field("clock", &self.clock)
            .field("telemetry", &self.telemetry)
            .finish_non_exhaustive()
    }
}
