//! `HttpAuthorizer` of `huskarl` over its cache in memory: builds headers for each request, and inspects each response.

use std::{future::ready, sync::Arc};

use ::huskarl::{
    authorizer::HttpAuthorizer,
    cache::{GrantTokenSource, InMemoryRefreshTokenStore, InMemoryTokenCache},
    core::{
        Error,
        client_auth::NoAuth,
        http::{HttpClient, HttpResponse, Idempotency},
        platform::MaybeSendBoxFuture,
    },
    grant::client_credentials::{ClientCredentialsGrant, ClientCredentialsGrantParameters},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use tower::Service;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    endpoint::Endpoint,
    issuer,
};

#[derive(Debug)]
pub(super) struct Authorizer(Arc<HttpAuthorizer>);

impl Peer for Authorizer {
    const NAME: &'static str = "huskarl";
    const PACKAGE: &'static str = "huskarl";

    fn start(surroundings: &Surroundings) -> Self {
        let grant = ClientCredentialsGrant::builder()
            .client_id("peers")
            .http_client(TokenEndpoint)
            .client_auth(NoAuth)
            .token_endpoint("https://issuer.example.com/token".parse().expect("the URL is valid"))
            .build();
        let source = GrantTokenSource::builder()
            .grant(grant)
            .grant_parameters(ClientCredentialsGrantParameters::new())
            .refresh_store(InMemoryRefreshTokenStore::default())
            .build();
        let authorizer = HttpAuthorizer::builder()
            .cache(InMemoryTokenCache::builder().source(source).build())
            .build();
        let uri = Uri::from_static("https://api.example.com/");
        let first = surroundings.runtime.block_on(authorizer.get_headers(&Method::GET, &uri));
        first.expect("the token endpoint answers");
        Self(Arc::new(authorizer))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let authorizer = self.0.clone();
        calls::by(async move |mut request| {
            // Its documentation passes each response to `process_response`, which requires the URI too.
            let uri = request.uri().clone();
            let headers =
                authorizer.get_headers(request.method(), &uri).await.expect("the token is cached");
            request.headers_mut().extend(headers);
            let Ok(response) = Endpoint::<CHECKED>.call(request).await;
            authorizer.process_response(&uri, response.headers());
        })
    }
}

/// A token endpoint in memory.
struct TokenEndpoint;

impl HttpClient for TokenEndpoint {
    fn execute(
        &self,
        _: Request<Bytes>,
        _: Idempotency,
    ) -> MaybeSendBoxFuture<'_, Result<HttpResponse, Error>> {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Box::pin(ready(Ok(HttpResponse {
            status: StatusCode::OK,
            headers,
            body: issuer::answer().into(),
        })))
    }
}
