//! [`SharedTokenLayer`]: the layer around a login service.

use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;
use tower_service::Service;

use super::{
    SealingKeys, TokenIdentity, TokenStore,
    identity::Purpose,
    sealed_store::SealedStore,
    service::SharedToken,
    settings::{MIN_CLAIM_TIME_TO_LIVE, Settings},
};
use crate::{BoxError, login::LoginRequest, token::AccessToken};

/// Shares the token of a login service with other processes, through a [`TokenStore`].
///
/// One process logs in, and the others use its token. The [module](super) describes how. Each refresher needs a service
/// of its own. Its logins need a tokio runtime with a timer.
///
/// ```
/// use std::time::Duration;
///
/// use tower::ServiceBuilder;
/// use tower_auth_refresh::{
///     AccessToken, AuthRefresher, login_fn,
///     shared::{SealingKey, SealingKeys, SharedTokenLayer, TokenIdentity},
///     test_util::InMemoryTokenStore,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// # let key = [7; 32];
/// // In production, a store that all processes reach.
/// let store = InMemoryTokenStore::default();
/// let identity = TokenIdentity::new("https://login.example.com", "orders", "client_credentials");
/// let shared = SharedTokenLayer::new(store, identity, SealingKeys::new(SealingKey::new(key)));
///
/// // Two processes, each with a refresher.
/// let process = |name: &'static str| {
///     let login = login_fn(move |_| async move {
///         Ok(AccessToken::bearer(name)?.with_expires_in(Duration::from_secs(3600)))
///     });
///     AuthRefresher::new(ServiceBuilder::new().layer(shared.clone()).service(login))
/// };
/// assert_eq!(process("first").token().await?.secret(), "first");
/// assert_eq!(process("second").token().await?.secret(), "first");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedTokenLayer {
    settings: Settings,
}

impl SharedTokenLayer {
    /// Creates a layer for the token of `identity` in `store`. The records are sealed with `keys`.
    pub fn new(store: impl TokenStore, identity: TokenIdentity, keys: SealingKeys) -> Self {
        Self::with_keys(store, &identity, Some(keys))
    }

    /// Creates a layer whose records are in plain text: everyone who can read the store has the token, and everyone who
    /// can write to it can replace the token.
    pub fn danger_unsealed(store: impl TokenStore, identity: TokenIdentity) -> Self {
        Self::with_keys(store, &identity, None)
    }

    fn with_keys(
        store: impl TokenStore,
        identity: &TokenIdentity,
        keys: Option<SealingKeys>,
    ) -> Self {
        let key = identity.record_key(Purpose::AccessToken);
        let store = SealedStore { store: Arc::new(store), key, keys };
        Self { settings: Settings::new(store) }
    }

    /// Sets the time limit of the login service below. Defaults to 15 seconds.
    ///
    /// It is also the time for which a process waits for the login of another one. After that, its login fails with a
    /// transient error, and the refresher retries. From the third attempt on, the process waits for a random time between half
    /// of the limit and the limit, and then logs in without the store. No claim is extended beyond the limit.
    ///
    /// So the limit should be at most half of the refresher's
    /// [`login_timeout`](crate::AuthRefresherBuilder::login_timeout). A refresher with a shorter one ends the wait: it
    /// retries, and the login of this process continues in its own task. With a limit of zero, each login times out.
    #[must_use]
    pub fn login_timeout(mut self, limit: Duration) -> Self {
        self.settings.login_timeout = limit;
        self
    }

    /// Sets the time after which another process can log in, if the one that logs in has died. Defaults to 5 seconds.
    ///
    /// A process that lives extends its claim three times in this period, so a login can take longer. The time is limited to
    /// [`login_timeout`](Self::login_timeout). It should be several times as long as a step of the store takes. A time below
    /// 100 milliseconds counts as 100 milliseconds.
    #[must_use]
    pub fn claim_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.settings.claim_time_to_live = time_to_live.max(MIN_CLAIM_TIME_TO_LIVE);
        self
    }

    /// Sets the time limit of each step of the store. Defaults to 500 milliseconds.
    ///
    /// A step includes the time to connect. If a step exceeds the limit, the process logs in without the store. The step can
    /// still take place in the store: the process then releases a claim that it does not use.
    ///
    /// While the current token is about to expire, the
    /// limit is half of its remaining time, but at least 10 milliseconds, or 100 if the store has responded just before.
    #[must_use]
    pub fn store_timeout(mut self, limit: Duration) -> Self {
        self.settings.store_timeout = limit;
        self
    }

    /// Sets the random source that spreads logins without the store. Defaults to one that the system seeds.
    ///
    /// The numbers must be uniformly distributed over all `u64`, and different in each process. For tests, set a source with a
    /// fixed seed. If the source panics, the default one is used.
    #[must_use]
    pub fn rng(mut self, rng: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.settings.rng = Arc::new(rng);
        self
    }
}

impl<L> Layer<L> for SharedTokenLayer
where
    L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
    L::Error: Into<BoxError>,
    L::Future: Send,
{
    type Service = SharedToken;

    fn layer(&self, login: L) -> SharedToken {
        SharedToken::new(self.settings.clone(), login)
    }
}

impl fmt::Debug for SharedTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTokenLayer").field("settings", &self.settings).finish()
    }
}
