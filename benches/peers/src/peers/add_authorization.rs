//! `AddAuthorizationLayer` of `tower-http`: the usual layer, for a token that never changes.

use std::sync::Arc;

use tower::Layer;
use tower_http::auth::{AddAuthorization, AddAuthorizationLayer};

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common::secret,
    endpoint::Endpoint,
};

const PACKAGE: &str = "tower-http";

pub(super) struct OneService(AddAuthorizationLayer);

impl Peer for OneService {
    const NAME: &'static str = "tower-http, static token";
    const PACKAGE: &'static str = PACKAGE;

    fn start(_: &Surroundings) -> Self {
        Self(AddAuthorizationLayer::bearer(&secret()))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<(), _>(self.0.layer(Endpoint::<CHECKED>))
    }
}

pub(super) struct Clones {
    checked: Arc<AddAuthorization<Endpoint<true>>>,
    unchecked: Arc<AddAuthorization<Endpoint<false>>>,
}

impl Peer for Clones {
    const NAME: &'static str = "tower-http, static token, a clone per call";
    const PACKAGE: &'static str = PACKAGE;

    fn start(_: &Surroundings) -> Self {
        let layer = AddAuthorizationLayer::bearer(&secret());
        Self {
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
