//! `AuthRefreshLayer` with its defaults.

use tokio::runtime::Runtime;
use tower::Layer;
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher};

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common,
    endpoint::Endpoint,
};

pub(super) struct Ours {
    _runtime: Runtime,
    refresher: AuthRefresher,
}

impl Peer for Ours {
    const NAME: &'static str = "tower-auth-refresh";
    const PACKAGE: &'static str = "tower-auth-refresh";

    fn start(_: &Surroundings) -> Self {
        let (runtime, refresher) = common::refresher();
        Self { _runtime: runtime, refresher }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<(), _>(AuthRefreshLayer::new(self.refresher.clone()).layer(Endpoint::<CHECKED>))
    }
}
