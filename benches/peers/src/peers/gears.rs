//! The two bearer layers of `cf-gears-toolkit-auth`, over a `TokenProvider` that has its token.

use std::convert::Infallible;

use http::Request;
use toolkit_auth::{
    BearerAuthAutoRefreshLayer, BearerAuthLayer, OAuthClientConfig, SecretString, TokenProvider,
};
use toolkit_http::HttpError;
use tower::{Layer, ServiceExt, util::MapErr};

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    endpoint::Endpoint,
};

/// Sets the token.
#[derive(Debug)]
pub(super) struct BearerAuth(BearerAuthLayer);

/// Also saves the request for one retry after a 401.
#[derive(Debug)]
pub(super) struct AutoRefresh(BearerAuthAutoRefreshLayer);

impl Peer for BearerAuth {
    const NAME: &'static str = "cf-gears-toolkit-auth";
    const PACKAGE: &'static str = "cf-gears-toolkit-auth";

    fn start(surroundings: &Surroundings) -> Self {
        Self(BearerAuthLayer::new(provider(surroundings)))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<(), _>(self.0.layer(inner::<CHECKED>()))
    }
}

impl Peer for AutoRefresh {
    const NAME: &'static str = "cf-gears-toolkit-auth, auto-refresh";
    const PACKAGE: &'static str = "cf-gears-toolkit-auth";

    fn start(surroundings: &Surroundings) -> Self {
        Self(BearerAuthAutoRefreshLayer::new(provider(surroundings)))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<(), _>(self.0.layer(inner::<CHECKED>()))
    }
}

fn provider(Surroundings { runtime, issuer }: &Surroundings) -> TokenProvider {
    let config = OAuthClientConfig {
        token_endpoint: Some(issuer.url().parse().expect("the URL is valid")),
        client_id: "peers".into(),
        client_secret: SecretString::new("peers"),
        ..OAuthClientConfig::default()
    };
    runtime.block_on(async {
        let provider = TokenProvider::new(config).expect("the configuration is valid");
        provider.get().await.expect("the issuer answers");
        provider
    })
}

/// The layers require the toolkit's error.
fn inner<const CHECKED: bool>() -> MapErr<Endpoint<CHECKED>, fn(Infallible) -> HttpError> {
    ServiceExt::<Request<()>>::map_err(Endpoint, |never| match never {})
}
