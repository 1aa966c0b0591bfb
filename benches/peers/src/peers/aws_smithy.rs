//! `aws-smithy-runtime`: the identity from its lazy cache, then the bearer scheme's signer, as in each attempt of its
//! orchestrator. The rest of the orchestrator is omitted. The bare call uses the client's request type too.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime::client::{
    auth::http::BearerAuthScheme, identity::IdentityCache,
    orchestrator::endpoints::StaticUriEndpointResolver, retries::strategy::NeverRetryStrategy,
};
use aws_smithy_runtime_api::client::{
    auth::{
        AuthScheme, AuthSchemeEndpointConfig, http::HTTP_BEARER_AUTH_SCHEME_ID,
        static_resolver::StaticAuthSchemeOptionResolver,
    },
    identity::{ResolveCachedIdentity, SharedIdentityResolver, http::Token},
    orchestrator::HttpRequest,
    runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use http::Request;
use tokio::runtime::Handle;
use tower::Service;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common::secret,
    endpoint::Endpoint,
};

pub(super) struct Bearer {
    runtime: Handle,
    components: RuntimeComponents,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").finish_non_exhaustive()
    }
}

impl Peer for Bearer {
    const NAME: &'static str = "aws-smithy-runtime";
    const PACKAGE: &'static str = "aws-smithy-runtime";

    fn start(surroundings: &Surroundings) -> Self {
        let expiry = SystemTime::now() + Duration::from_secs(86_400);
        let token = SharedIdentityResolver::new(Token::new(secret(), Some(expiry)));
        let components = RuntimeComponentsBuilder::new("peers")
            .with_auth_scheme(BearerAuthScheme::new())
            .with_identity_cache(Some(IdentityCache::lazy().build()))
            .with_identity_resolver(HTTP_BEARER_AUTH_SCHEME_ID, token)
            .with_sleep_impl(Some(TokioSleep::new()))
            .with_time_source(Some(SystemTimeSource::new()))
            // The builder requires these too; authorization uses none of them.
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
                HTTP_BEARER_AUTH_SCHEME_ID,
            ])))
            .with_endpoint_resolver(Some(StaticUriEndpointResolver::uri("https://api.example.com")))
            .with_retry_strategy(Some(NeverRetryStrategy::new()))
            .build()
            .expect("all components are there");
        Self { runtime: surroundings.runtime.handle().clone(), components }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let (components, config) = (self.components.clone(), ConfigBag::base());
        let mut calls = calls::by(async move |request| {
            let mut request = smithy(request);
            let scheme = components.auth_scheme(HTTP_BEARER_AUTH_SCHEME_ID).expect("it was given");
            let resolver = scheme.identity_resolver(&components).expect("it was given");
            let cache = components.identity_cache();
            let identity = cache
                .resolve_cached_identity(resolver, &components, &config)
                .await
                .expect("it is cached");
            let endpoint = AuthSchemeEndpointConfig::empty();
            let signed = scheme.signer().sign_http_request(
                &mut request,
                &identity,
                endpoint,
                &components,
                &config,
            );
            signed.expect("the token is a header's value");
            send::<CHECKED>(request).await;
        });
        // The cache creates a timer before it knows that it has an identity.
        let runtime = self.runtime.clone();
        Box::new(move |times| {
            let _entered = runtime.enter();
            calls(times);
        })
    }

    fn own_bare(&self) -> Option<Calls> {
        Some(calls::by(async |request| send::<false>(smithy(request)).await))
    }
}

fn smithy(request: Request<()>) -> HttpRequest {
    request.map(|()| SdkBody::empty()).try_into().expect("the request is plain")
}

async fn send<const CHECKED: bool>(request: HttpRequest) {
    let request = request.try_into_http1x().expect("the request is plain");
    let Ok(_) = Endpoint::<CHECKED>.call(request).await;
}
