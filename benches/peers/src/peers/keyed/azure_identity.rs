//! `ClientSecretCredential` of `azure_identity`: its cache selects the token by its scopes. The header is built each
//! time, as by the policy of `azure_core`.

use std::sync::Arc;

use ::azure_core::{
    credentials::TokenCredential,
    http::{
        AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport,
        headers::Headers,
    },
};
use ::azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use async_trait::async_trait;

use super::{Peer, scopes, send_with};
use crate::{
    calls::{self, Calls},
    issuer,
    key_draws::KeyDraws,
    peers::Surroundings,
};

pub(super) struct ClientSecret<const KEYS: u64> {
    credential: Arc<ClientSecretCredential>,
    scopes: Arc<[String]>,
}

impl<const KEYS: u64> Peer for ClientSecret<KEYS> {
    const NAME: &'static str = match KEYS {
        1 => "azure_identity, 1 scope",
        _ => "azure_identity, 1,000 scopes",
    };
    const PACKAGE: &'static str = "azure_identity";

    fn start(Surroundings { runtime, .. }: &Surroundings) -> Self {
        let client_options = ClientOptions {
            transport: Some(Transport::new(Arc::new(Issuer))),
            ..Default::default()
        };
        let credential = ClientSecretCredential::new(
            "tenant",
            "client".to_owned(),
            "secret".into(),
            Some(ClientSecretCredentialOptions { client_options }),
        )
        .expect("the settings are valid");
        let scopes = scopes(KEYS);
        runtime.block_on(async {
            for scope in &scopes {
                credential.get_token(&[scope], None).await.expect("the issuer answers");
            }
        });
        Self { credential, scopes: scopes.into() }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let (credential, scopes) = (self.credential.clone(), self.scopes.clone());
        calls::by_key(KeyDraws::new(KEYS), async move |key, request| {
            let scope = [&*scopes[key as usize]];
            let token = credential.get_token(&scope, None).await.expect("it is cached");
            send_with::<CHECKED>(token.token.secret(), request).await;
        })
    }
}

/// The issuer, in memory.
#[derive(Debug)]
struct Issuer;

#[async_trait]
impl HttpClient for Issuer {
    async fn execute_request(&self, _: &Request) -> ::azure_core::Result<AsyncRawResponse> {
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), issuer::answer()))
    }
}
