//! `BearerTokenAuthorizationPolicy` of `azure_core`, which caches the credential's token, before the last policy of a
//! pipeline. A bare call runs only that last policy.

use std::{hint::black_box, sync::Arc};

use ::azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    http::{
        AsyncRawResponse, Context, Method, Request, StatusCode, Url,
        headers::{AUTHORIZATION, Headers},
        policies::{Policy, PolicyResult, auth::BearerTokenAuthorizationPolicy},
    },
    time::{Duration, OffsetDateTime},
};
use async_trait::async_trait;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common::secret,
    endpoint,
};

#[derive(Debug)]
pub(super) struct BearerPolicy(Arc<dyn Policy>);

impl Peer for BearerPolicy {
    const NAME: &'static str = "azure_core";
    const PACKAGE: &'static str = "azure_core";

    fn start(_: &Surroundings) -> Self {
        let scopes = ["https://api.example.com/.default"];
        Self(Arc::new(BearerTokenAuthorizationPolicy::new(Arc::new(Credential), scopes)))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls_by([self.0.clone(), Arc::new(Transport::<CHECKED>)])
    }

    fn own_bare(&self) -> Option<Calls> {
        Some(calls_by([Arc::new(Transport::<false>)]))
    }
}

fn calls_by<const N: usize>(policies: [Arc<dyn Policy>; N]) -> Calls {
    let url = Url::parse("https://api.example.com/things/1").expect("the URL is valid");
    calls::by(async move |_| {
        let mut request = Request::new(url.clone(), Method::Get);
        let response = policies[0].send(&Context::new(), &mut request, &policies[1..]).await;
        black_box(response.expect("the transport answers"));
    })
}

#[derive(Debug)]
struct Credential;

#[async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> ::azure_core::Result<AccessToken> {
        Ok(AccessToken::new(secret(), OffsetDateTime::now_utc() + Duration::days(1)))
    }
}

/// The inner service, as a policy.
#[derive(Debug)]
struct Transport<const CHECKED: bool>;

#[async_trait]
impl<const CHECKED: bool> Policy for Transport<CHECKED> {
    async fn send(
        &self,
        _: &Context,
        request: &mut Request,
        _: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        if CHECKED && let Some(value) = request.headers().get_optional_str(&AUTHORIZATION) {
            endpoint::count(value.as_bytes());
        }
        black_box(&request);
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), ""))
    }
}
