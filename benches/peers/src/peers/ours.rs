//! `AuthRefreshLayer` with its defaults: one service for all calls, one clone for each call, and replay.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tower::Layer;
use tower_auth_refresh::{AuthRefresh, AuthRefreshLayer, AuthRefresher, ReplayClone};

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common,
    endpoint::Endpoint,
};

const PACKAGE: &str = "tower-auth-refresh";

pub(super) struct Ours {
    _runtime: Runtime,
    refresher: AuthRefresher,
}

impl Peer for Ours {
    const NAME: &'static str = "tower-auth-refresh";
    const PACKAGE: &'static str = PACKAGE;

    fn start(_: &Surroundings) -> Self {
        let (runtime, refresher) = common::refresher();
        Self { _runtime: runtime, refresher }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<(), _>(
            AuthRefreshLayer::new(self.refresher.clone()).layer(Endpoint::<CHECKED>),
        )
    }
}

pub(super) struct Clones {
    _runtime: Runtime,
    checked: Arc<AuthRefresh<Endpoint<true>>>,
    unchecked: Arc<AuthRefresh<Endpoint<false>>>,
}

impl Peer for Clones {
    const NAME: &'static str = "tower-auth-refresh, a clone per call";
    const PACKAGE: &'static str = PACKAGE;

    fn start(_: &Surroundings) -> Self {
        let (runtime, refresher) = common::refresher();
        let layer = AuthRefreshLayer::new(refresher);
        Self {
            _runtime: runtime,
            checked: Arc::new(layer.layer(Endpoint)),
            unchecked: Arc::new(layer.layer(Endpoint)),
        }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        if CHECKED {
            calls::through_clones(self.checked.clone())
        } else {
            calls::through_clones(self.unchecked.clone())
        }
    }
}

pub(super) struct Replay(Ours);

impl Peer for Replay {
    const NAME: &'static str = "tower-auth-refresh, with replay";
    const PACKAGE: &'static str = PACKAGE;

    fn start(surroundings: &Surroundings) -> Self {
        Self(Ours::start(surroundings))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let layer = AuthRefreshLayer::new(self.0.refresher.clone()).replay(ReplayClone);
        calls::through::<(), _>(layer.layer(Endpoint::<CHECKED>))
    }
}
