//! `AuthRefreshLayer::keyed`, with one service for all calls. Each request has its key in the extensions.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tower::Layer;
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefreshers, Expiry, login_fn,
};

use super::Peer;
use crate::{
    calls::{self, Calls},
    common,
    endpoint::Endpoint,
    key_draws::KeyDraws,
    peers::Surroundings,
};

const PACKAGE: &str = "tower-auth-refresh";

pub(super) struct Ours<const KEYS: u64> {
    _runtime: Runtime,
    refreshers: AuthRefreshers<u64>,
}

impl<const KEYS: u64> Peer for Ours<KEYS> {
    const NAME: &'static str = match KEYS {
        1 => "tower-auth-refresh, the last key",
        1_000 => "tower-auth-refresh, 1,000 keys",
        _ => "tower-auth-refresh, 100,000 keys",
    };
    const PACKAGE: &'static str = PACKAGE;

    fn start(_: &Surroundings) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(1).enable_all().build().expect("a runtime can be started");
        let secret: Arc<str> = common::secret().into();
        let factory = move |_: &u64| {
            let secret = secret.clone();
            AuthRefresher::builder(login_fn(move |_| {
                let token = AccessToken::bearer(&*secret);
                async move { Ok(token?.with_expiry(Expiry::Never)) }
            }))
        };
        let refreshers = AuthRefreshers::builder(factory)
            .capacity(2 * KEYS as usize)
            .build()
            .expect("the settings are valid");
        runtime.block_on(async {
            for key in 0..KEYS {
                let refresher = refreshers.get(&key).expect("the factory does not fail");
                refresher.ready().await.expect("the login does not fail");
            }
        });
        Self { _runtime: runtime, refreshers }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let layer = AuthRefreshLayer::keyed(self.refreshers.clone());
        let mut service = layer.layer(Endpoint::<CHECKED>);
        // The first call of a thread copies the header value of a token.
        let requests = common::Requests::new();
        for key in 0..KEYS {
            let mut request = requests.next();
            request.extensions_mut().insert(key);
            common::call(&mut service, request);
        }
        calls::through_keyed(service, KeyDraws::new(KEYS))
    }

    fn own_bare(&self) -> Option<Calls> {
        Some(bare())
    }
}

/// The layer for one identity, for the same requests.
pub(super) struct OneIdentity {
    _runtime: Runtime,
    refresher: AuthRefresher,
}

impl Peer for OneIdentity {
    const NAME: &'static str = "tower-auth-refresh, one identity";
    const PACKAGE: &'static str = PACKAGE;

    fn start(_: &Surroundings) -> Self {
        let (runtime, refresher) = common::refresher();
        Self { _runtime: runtime, refresher }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let layer = AuthRefreshLayer::new(self.refresher.clone());
        calls::through_keyed(layer.layer(Endpoint::<CHECKED>), KeyDraws::new(1_000))
    }

    fn own_bare(&self) -> Option<Calls> {
        Some(bare())
    }
}

/// Calls of the inner service with the same requests.
fn bare() -> Calls {
    calls::through_keyed(Endpoint::<false>, KeyDraws::new(1_000))
}
