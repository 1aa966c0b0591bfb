//! `AddAuthorizationLayer` of `tower-http`: the usual layer, for a token that never changes.

use tower::Layer;
use tower_http::auth::AddAuthorizationLayer;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common::secret,
    endpoint::Endpoint,
};

pub(super) struct AddAuthorization(AddAuthorizationLayer);

impl Peer for AddAuthorization {
    const NAME: &'static str = "tower-http, static token";
    const PACKAGE: &'static str = "tower-http";

    fn start(_: &Surroundings) -> Self {
        Self(AddAuthorizationLayer::bearer(&secret()))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<(), _>(self.0.layer(Endpoint::<CHECKED>))
    }
}
