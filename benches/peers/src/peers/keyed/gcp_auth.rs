//! `CustomServiceAccount` of `gcp_auth`: selects the token by its scopes, and the header is built each time.

use std::sync::Arc;

use ::gcp_auth::TokenProvider;

use super::{Peer, scopes, send_with};
use crate::{
    calls::{self, Calls},
    key_draws::KeyDraws,
    peers::{Surroundings, gcp_auth::service_account},
};

pub(super) struct ServiceAccount<const KEYS: u64> {
    provider: Arc<dyn TokenProvider>,
    scopes: Arc<[String]>,
}

impl<const KEYS: u64> Peer for ServiceAccount<KEYS> {
    const NAME: &'static str = match KEYS {
        1 => "gcp_auth, 1 scope",
        _ => "gcp_auth, 1,000 scopes",
    };
    const PACKAGE: &'static str = "gcp_auth";

    fn start(surroundings: &Surroundings) -> Self {
        let (provider, scopes) = (service_account(surroundings), scopes(KEYS));
        surroundings.runtime.block_on(async {
            for scope in &scopes {
                provider.token(&[scope]).await.expect("the issuer answers");
            }
        });
        Self { provider, scopes: scopes.into() }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let (provider, scopes) = (self.provider.clone(), self.scopes.clone());
        calls::by_key(KeyDraws::new(KEYS), async move |key, request| {
            let scope = [&*scopes[key as usize]];
            let token = provider.token(&scope).await.expect("it is cached");
            send_with::<CHECKED>(token.as_str(), request).await;
        })
    }
}
