//! The layer as a middleware of `reqwest-middleware`.

use std::{
    error::Error as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use http::{Extensions, StatusCode};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next, Result};
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefresh, AuthRefreshLayer, AuthRefresher, Clock, LoginRequest, ReplayWith,
    TokenInfo, TokenValidFor, UnsafeDestination, reqwest_client::ReqwestService,
};

use crate::server::Server;

fn client(middleware: impl Middleware) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest()).with(middleware).build()
}

fn reqwest() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn request_gets_the_token_and_keeps_the_rest() {
    let server = Server::start().await;
    let client = client(AuthRefreshLayer::new(server.refresher()));
    let url = server.url("/orders?page=2");
    let body = json!({ "item": 7 }).to_string();
    let request = client.post(&url).header("x-trace", "1").body(body.clone());
    let response = request.send().await.unwrap();
    assert_eq!(response.url().as_str(), url);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "item": 7 }));

    let [request] = &server.received()[..] else { panic!() };
    assert_eq!(request.header("authorization"), Some("Bearer token-1"));
    assert_eq!(request.header("x-trace"), Some("1"));
    assert_eq!(request.body, body);
}

#[tokio::test]
async fn rejection_without_replay_is_the_response() {
    let server = Server::start().await;
    let client = client(AuthRefreshLayer::new(server.refresher()));
    client.get(server.url("/")).send().await.unwrap();
    server.revoke();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(client.get(server.url("/")).send().await.unwrap().status());
    }
    assert_eq!(statuses, [StatusCode::UNAUTHORIZED, StatusCode::OK]);
}

#[tokio::test]
async fn revoked_tokens_fail_no_request() {
    let server = Server::with_revocations([50, 110]).await;
    let layer =
        AuthRefreshLayer::new(server.refresher()).replay(ReplayWith(reqwest::Request::try_clone));
    let client = client(layer);
    for n in 0..160 {
        let body = json!({ "item": n });
        let response = client.post(server.url("/")).body(body.to_string()).send().await.unwrap();
        assert_eq!(response.error_for_status().unwrap().json::<Value>().await.unwrap(), body);
    }
    assert_eq!(server.received().len(), 162, "two rejected requests were sent twice");
}

#[tokio::test]
async fn stream_is_not_replayed() {
    let server = Server::start().await;
    let layer =
        AuthRefreshLayer::new(server.refresher()).replay(ReplayWith(reqwest::Request::try_clone));
    let client = client(layer);
    client.get(server.url("/")).send().await.unwrap();
    server.revoke();
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(["a"].map(Ok::<_, BoxError>)));
    let response = client.post(server.url("/")).body(stream).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn errors_keep_their_kind() {
    let server = Server::start().await;
    let client = client(AuthRefreshLayer::new(server.refresher()));

    let error = client.get("http://api.example.com/").send().await.unwrap_err();
    let Error::Middleware(error) = error else { panic!("{error:?}") };
    let error = error.downcast_ref::<tower_auth_refresh::Error>().unwrap();
    assert!(error.source().unwrap().is::<UnsafeDestination>());
    assert!(server.received().is_empty());

    let error = client
        .get(server.url("/never"))
        .timeout(Duration::from_millis(20))
        .send()
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
}

/// Counts in the extensions how often it ran.
struct Counter(Arc<Mutex<Vec<u32>>>);

#[async_trait]
impl Middleware for Counter {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        let count = extensions.get_or_insert_default::<u32>();
        *count += 1;
        self.0.lock().unwrap().push(*count);
        next.run(request, extensions).await
    }
}

#[tokio::test]
async fn extensions_reach_the_next_middleware_and_the_caller() {
    let server = Server::start().await;
    let counts = Arc::default();
    let layer = AuthRefreshLayer::new(server.refresher()).insert_token_info(true);
    let client =
        ClientBuilder::new(reqwest()).with(layer).with(Counter(Arc::clone(&counts))).build();
    let mut extensions = Extensions::new();
    extensions.insert(41_u32);
    let request = client.get(server.url("/")).build().unwrap();
    let response = client.execute_with_extensions(request, &mut extensions).await.unwrap();
    assert_eq!(extensions.get(), Some(&42_u32));
    assert_eq!(response.extensions().get::<TokenInfo>().unwrap().generation, 1);
    assert_eq!(*counts.lock().unwrap(), [42]);
}

#[tokio::test]
async fn replay_passes_the_next_middleware_again() {
    let server = Server::with_revocations([1]).await;
    let counts = Arc::default();
    let layer =
        AuthRefreshLayer::new(server.refresher()).replay(ReplayWith(reqwest::Request::try_clone));
    let client =
        ClientBuilder::new(reqwest()).with(layer).with(Counter(Arc::clone(&counts))).build();
    for _ in 0..2 {
        assert_eq!(client.get(server.url("/")).send().await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(*counts.lock().unwrap(), [1, 1, 2]);
}

/// Returns a wall clock, and what sets it, in seconds.
fn clock() -> (Arc<AtomicU64>, impl Clock) {
    #[derive(Debug)]
    struct TestClock(Arc<AtomicU64>);
    impl Clock for TestClock {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(SeqCst))
        }
    }
    let now = Arc::new(AtomicU64::new(1_000_000));
    (now.clone(), TestClock(now))
}

#[tokio::test]
async fn token_valid_for_applies() {
    let server = Server::start().await;
    let token = |secs| {
        AccessToken::bearer(format!("token-{secs}"))
            .unwrap()
            .with_expires_in(Duration::from_secs(secs))
    };
    let login =
        tower::service_fn(move |_: LoginRequest| async move { Ok::<_, BoxError>(token(3_600)) });
    let (now, clock) = clock();
    let refresher =
        AuthRefresher::builder(login).initial_token(token(600)).clock(clock).build().unwrap();
    let client = client(AuthRefreshLayer::new(refresher));
    now.fetch_add(300, SeqCst);
    for min in [60, 1_800] {
        client
            .get(server.url("/"))
            .with_extension(TokenValidFor(Duration::from_secs(min)))
            .send()
            .await
            .unwrap();
    }
    let received = server.received();
    let tokens: Vec<_> =
        received.iter().map(|request| request.header("authorization").unwrap()).collect();
    assert_eq!(tokens, ["Bearer token-600", "Bearer token-3600"]);
}

#[tokio::test]
async fn client_with_middleware_goes_below_a_stack_too() {
    let server = Server::start().await;
    let counts = Arc::default();
    let middleware = ClientBuilder::new(reqwest()).with(Counter(Arc::clone(&counts))).build();
    let client = AuthRefresh::new(ReqwestService::new(middleware), server.refresher());
    let request = http::Request::get(server.url("/")).body(String::new()).unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(*counts.lock().unwrap(), [1]);
}
