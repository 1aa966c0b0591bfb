//! [`AuthRefreshersBuilder`]: creates an [`AuthRefreshers`] from its settings.

use std::{fmt, hash::Hash, time::Duration};

use super::{
    handle::AuthRefreshers,
    new_key_limit::NewKeyLimit,
    shared::{Factory, KeySettings, Shared},
};
use crate::{
    error::BoxError,
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
    new_keys: Option<(u32, Duration)>,
    pause_when_idle: Duration,
    telemetry: Telemetry,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> AuthRefreshers<K> {
    /// Creates a builder. The factory returns the builder of a key's refresher, which has the key's login service.
    ///
    /// The factory runs when a key is first used, and again after the key was evicted or
    /// [forgotten](AuthRefreshers::forget). It runs on the thread of the caller, so it must not block. It can use the
    /// handle itself, for other keys.
    pub fn builder(
        factory: impl Fn(&K) -> AuthRefresherBuilder + Send + Sync + 'static,
    ) -> AuthRefreshersBuilder<K> {
        AuthRefreshersBuilder::new(Box::new(move |key| Ok(factory(key))))
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
    /// assert!(refreshers.get(&"other").unwrap_err().is_factory());
    /// # Ok::<(), tower_auth_refresh::InvalidSetting>(())
    /// ```
    pub fn try_builder<E: Into<BoxError>>(
        factory: impl Fn(&K) -> Result<AuthRefresherBuilder, E> + Send + Sync + 'static,
    ) -> AuthRefreshersBuilder<K> {
        AuthRefreshersBuilder::new(Box::new(move |key| factory(key).map_err(Into::into)))
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
    /// Only keys that are in use exceed it: those with a login under way, and those whose refresher a call, a service
    /// or a caller has. Later new keys evict them, when they are no longer in use. The cache consists of parts of equal size, and a key belongs to one of them. So a part can be
    /// full before the cache is. Set the capacity at least a tenth above the number of keys that are usually in use.
    pub fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// Sets how many logins can be under way at the same time. Defaults to 16.
    ///
    /// The others wait in line, in order of arrival. Their [`login_timeout`](AuthRefresherBuilder::login_timeout) does
    /// not include this wait, but a call's [`wait_timeout`](AuthRefresherBuilder::wait_timeout) does. A slow issuer does
    /// not delay the others for long:
    ///
    /// - A login is slow if it takes more than a third of its `login_timeout`. Keys whose last login was slow use at
    ///   most a quarter of the permits.
    /// - While there are slow logins, a quarter of the permits is reserved for keys whose last login was not slow.
    pub fn logins_at_once(mut self, max: usize) -> Self {
        self.logins_at_once = max;
        self
    }

    /// Sets how many new keys are accepted in a period. Defaults to no limit.
    ///
    /// Set it if clients choose the key: each new key costs a login, and can evict another key. The limit allows a
    /// burst of `max` keys, and then one every `per / max`. A key that was evicted is new again. With 0, no key is
    /// accepted.
    pub fn new_keys(mut self, max: u32, per: Duration) -> Self {
        self.new_keys = Some((max, per));
        self
    }

    /// Sets how long a key must be unused before its refreshes pause. Defaults to 15 minutes.
    ///
    /// It applies to each key whose builder does not [set it](AuthRefresherBuilder::pause_when_idle). With
    /// [`Duration::MAX`], refreshes do not pause.
    pub fn pause_when_idle(mut self, after: Duration) -> Self {
        self.pause_when_idle = after;
        self
    }

    /// Creates the handle. It spawns nothing and calls no factory, so `build` needs no runtime.
    ///
    /// # Errors
    ///
    /// A setting is not valid. The error names it.
    pub fn build(self) -> Result<AuthRefreshers<K>, InvalidSetting> {
        let Self { factory, capacity, logins_at_once, new_keys, pause_when_idle, telemetry } = self;
        for (name, count) in [("capacity", capacity), ("logins_at_once", logins_at_once)] {
            match count {
                0 => return Err(InvalidSetting::new(name, "must be more than zero")),
                MAX_COUNT.. => return Err(InvalidSetting::new(name, "must be less than 2^30")),
                _ => {}
            }
        }
        if new_keys.is_some_and(|(_, per)| per.is_zero() || per > MAX_DURATION) {
            return Err(InvalidSetting::new(
                "new_keys",
                "must have a period above zero and at most 24 hours",
            ));
        }
        let settings = KeySettings {
            pause_when_idle,
            login_permits: LoginPermits::new(logins_at_once),
            telemetry,
        };
        let new_keys = new_keys.map(|(max, per)| NewKeyLimit::new(max, per));
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
            .field("telemetry", &self.telemetry)
            .finish_non_exhaustive()
    }
}
