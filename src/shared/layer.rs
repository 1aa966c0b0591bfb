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
/// One process logs in, and the others use its token. The [module](super) describes the protocol.
///
/// Call [`layer`](Layer::layer) for each refresher, because each service remembers which tokens its refresher has used,
/// and which ones were rejected. The logins need a tokio runtime with a timer.
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
    /// Creates a layer for the token of `identity` in `store`. It seals the records with `keys`.
    pub fn new(store: impl TokenStore, identity: TokenIdentity, keys: SealingKeys) -> Self {
        Self::with_keys(store, &identity, Some(keys))
    }

    /// Creates a layer whose records are plaintext. Everyone who can read the store has the token. Everyone who can
    /// write to it can replace the token.
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

    /// Sets the time limit of a login. Defaults to 15 seconds.
    ///
    /// The limit applies to each of these:
    ///
    /// - The login service below.
    /// - The wait for the logins of other processes. After the limit, the wait fails with a transient error, and the
    ///   refresher retries. From the third attempt on, the process logs in without the store after the wait, if the
    ///   claim's time did not change: the store has a fault then.
    /// - All extensions of a claim together. The claim ends after the limit, even if the login continues.
    ///
    /// The limit should be at most half of the refresher's
    /// [`login_timeout`](crate::AuthRefresherBuilder::login_timeout). If the refresher's limit ends first, the
    /// refresher retries, and a login of this process continues in its own task. With a limit of zero, each login times
    /// out.
    #[must_use]
    pub fn login_timeout(mut self, limit: Duration) -> Self {
        self.settings.login_timeout = limit;
        self
    }

    /// Sets the time after which another process can log in, if the one with the claim has died. Defaults to 5 seconds.
    ///
    /// A live process extends its claim every third of this time, so a login can take longer. Set several times the
    /// duration of a store call. The time is at least 100 milliseconds, and [`login_timeout`](Self::login_timeout) at
    /// most.
    #[must_use]
    pub fn claim_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.settings.claim_time_to_live = time_to_live.max(MIN_CLAIM_TIME_TO_LIVE);
        self
    }

    /// Sets the time limit of each call of the store. Defaults to 500 milliseconds.
    ///
    /// A call includes the time to connect. If a claim exceeds the limit, the process logs in without the store. The
    /// store may still grant that claim later, so the process releases it.
    ///
    /// While the current token is about to expire, the limit of a claim is half of the token's remaining time. It is
    /// then at least 10 milliseconds, or 100 if the last call has returned no error.
    #[must_use]
    pub fn store_timeout(mut self, limit: Duration) -> Self {
        self.settings.store_timeout = limit;
        self
    }

    /// Sets the random source that spreads logins without the store. Defaults to one that the system seeds.
    ///
    /// The numbers must be uniformly distributed over all `u64`, and differ between processes. For tests, set a source
    /// with a fixed seed. If the source panics, the layer uses the default one.
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
