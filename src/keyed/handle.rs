//! [`AuthRefreshers`]: the handle of many identities. `builder` creates it.

use std::{fmt, hash::Hash, sync::Arc};

use super::{entry::KeyEntry, error::KeyError, shared::Shared};
use crate::{refresh::AuthRefresher, telemetry::Telemetry};

/// A handle to the tokens of many identities: one [`AuthRefresher`] for each key, created when the key is first used.
/// Cloning is cheap; all clones share the refreshers.
///
/// A key is what selects an identity, such as a tenant, an audience or a user. It must contain *everything* that the
/// login depends on: two requests with equal keys share one token.
///
/// - Keys do not share tokens, logins, pauses or rejection limits. One tenant's failures do not affect another's token.
/// - The number of refreshers is [limited](crate::AuthRefreshersBuilder::capacity). For a new key, the handle evicts a key that
///   has not been used recently and is not in use.
/// - A key without requests [stops refreshing](crate::AuthRefreshersBuilder::pause_when_idle) after 15 minutes. It has no task
///   and no timer then, and after eviction no memory.
/// - The number of logins under way at the same time is [limited](crate::AuthRefreshersBuilder::logins_at_once).
///
/// Do not use a secret as a key, such as the subject token of a token exchange (RFC 8693). Use a hash of it, and pass
/// the secret to the login by other means. Neither `Debug` nor an error nor an event of this crate shows a key.
///
/// The `Hash` and `Eq` of a key must not block, and must not use the handle: keys are compared under a lock.
///
/// A login service must not wait for the token of another key of the same handle. If all permits are in use, the login
/// of the other key waits for a permit, and the login that waits for it keeps one. The wait then ends with the
/// [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout) of the other key. Use a separate handle or
/// [`AuthRefresher`] for tokens that logins need.
///
/// ```
/// use tower::{BoxError, service_fn};
/// use tower_auth_refresh::{AccessToken, AuthRefresher, AuthRefreshers, LoginRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let refreshers = AuthRefreshers::builder(|tenant: &u64| {
///     let tenant = *tenant;
///     AuthRefresher::builder(service_fn(move |_: LoginRequest| async move {
///         AccessToken::bearer(format!("token-of-{tenant}"))
///     }))
/// })
/// .capacity(10_000)
/// .build()?;
///
/// let refresher = refreshers.get(&7)?;
/// assert_eq!(refresher.token().await?.header_value(), "Bearer token-of-7");
/// assert_eq!(refreshers.len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct AuthRefreshers<K> {
    shared: Arc<Shared<K>>,
}

impl<K: Hash + Eq + Clone> AuthRefreshers<K> {
    pub(super) fn from_shared(shared: Shared<K>) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Returns the refresher of a key. Creates it if there is none.
    ///
    /// This does not log in: a refresher logs in at its first use. The key is not evicted as long as the caller has its
    /// refresher.
    ///
    /// For a new key, this calls the factory. If several threads need a new key at the same time, each can call the
    /// factory. All get the same refresher: that of the first call of the factory that returns.
    ///
    /// If the key is forgotten while the factory runs, this calls the factory again, at most three times. Then the
    /// caller gets the last refresher, and the handle does not keep it.
    ///
    /// # Errors
    ///
    /// - The [limit on new keys](crate::AuthRefreshersBuilder::new_keys) is reached.
    /// - The factory failed or panicked, or its builder has an invalid setting. The next call for the key calls the
    ///   factory again.
    /// - The handle has been [shut down](Self::shutdown).
    ///
    /// # Panics
    ///
    /// The `Hash` or `Eq` of the key panics.
    pub fn get(&self, key: &K) -> Result<AuthRefresher, KeyError> {
        self.entry(key).map(|entry| entry.refresher.clone())
    }

    /// Returns the entry of a key that has a refresher.
    #[inline]
    pub(crate) fn cached(&self, key: &K) -> Option<Arc<KeyEntry<K>>> {
        self.shared.cache.get(key)
    }

    #[inline]
    pub(crate) fn entry(&self, key: &K) -> Result<Arc<KeyEntry<K>>, KeyError> {
        match self.cached(key) {
            Some(entry) => Ok(entry),
            None => self.shared.create(key),
        }
    }

    /// Returns the refresher of a key, if there is one. Creates none, and does not count as a use of the key.
    pub fn peek(&self, key: &K) -> Option<AuthRefresher> {
        self.shared.cache.peek(key).map(|entry| entry.refresher.clone())
    }

    /// Removes a key. Returns whether the handle had a refresher for it; `false` also if one is under creation.
    ///
    /// Use it when a tenant's credentials have changed, or when a user has logged out. The next [`get`](Self::get) calls
    /// the factory, and a service uses the new refresher from its next call on. A refresher under creation is discarded.
    ///
    /// Calls in flight, and callers that have the old refresher, can use it and log in with it. It does not log in by
    /// itself any more. To end it at once, call [`AuthRefresher::shutdown`] on the result of [`peek`](Self::peek) first.
    pub fn forget(&self, key: &K) -> bool {
        self.shared.forget(key)
    }

    /// Removes all keys, ends their refreshers and logins permanently, and drops the factory. Later calls that need a
    /// token fail.
    ///
    /// This does not end the refresher of a key that was evicted or [forgotten](Self::forget) before. It logs in only
    /// for callers that still have it.
    pub fn shutdown(&self) {
        self.shared.shut_down();
    }

    /// Returns the number of keys that have a refresher.
    pub fn len(&self) -> usize {
        self.shared.cache.len()
    }

    /// Returns whether no key has a refresher.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K> AuthRefreshers<K> {
    /// Returns the [largest number](crate::AuthRefreshersBuilder::capacity) of keys that have a refresher. Only keys
    /// that are in use exceed it.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Returns the [name](crate::AuthRefreshersBuilder::name), if one is set.
    pub fn name(&self) -> Option<&str> {
        self.shared.settings.telemetry.name()
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.shared.settings.telemetry
    }
}

impl<K> Clone for AuthRefreshers<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// Shows no key.
impl<K> fmt::Debug for AuthRefreshers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRefreshers")
            .field("name", &self.name())
            .field("capacity", &self.capacity())
            .field("is_shut_down", &self.shared.is_shut_down())
            .finish_non_exhaustive()
    }
}
