//! The layer in real stacks: above and below each of tower's and tower-http's layers, over a service that panics when it
//! is called without having been made ready, and is not ready when cloned.

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use harness::{HOUR, Logins, secs, token};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{sync::Semaphore, time::sleep};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    balance::p2c::Balance,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    load::{CompleteOnResponse, PendingRequests},
    ready_cache::ReadyCache,
    retry::Policy,
    service_fn,
};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, ReplayClone};
use tower_http::{
    follow_redirect::FollowRedirectLayer,
    trace::{HttpMakeClassifier, TraceLayer},
};

type Body = Full<bytes::Bytes>;

/// Panics when it is called before it is ready; accepts the tokens from the second on.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, seen: self.seen.clone() }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        let token = request.headers().get(AUTHORIZATION).map_or("none", |value| value.to_str().unwrap()).to_owned();
        let status = if token == "Bearer t1" { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        self.seen.lock().unwrap().push(token);
        ready(Ok(Response::builder().status(status).body(Body::default()).unwrap()))
    }
}

fn refresher(logins: &Logins) -> AuthRefresher {
    logins
        .builder(|n| async move {
            sleep(secs(1)).await;
            token(n, HOUR)
        })
        .min_rejection_age(Duration::ZERO)
        .build()
        .unwrap()
}

/// Two calls through a stack: the first has no token, then one that is rejected, then a good one; the second has it.
async fn holds<S>(name: &str, build: impl FnOnce(AuthRefreshLayer<ReplayClone>, Strict) -> S)
where
    S: Service<Request<Body>, Response: AsResponse, Error: Into<BoxError>>,
{
    let (logins, inner) = (Logins::default(), Strict::default());
    let layer = AuthRefreshLayer::new(refresher(&logins)).replay(ReplayClone);
    let mut stack = build(layer, inner.clone());
    for _ in 0..2 {
        let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
        let call = async { stack.ready().await.map_err(Into::into)?.call(request).await.map_err(Into::into) };
        let response: Result<_, BoxError> = tokio::time::timeout(HOUR, call).await.expect("it hangs");
        assert_eq!(response.unwrap().status(), StatusCode::OK, "{name}");
    }
    assert_eq!(*inner.seen.lock().unwrap(), ["Bearer t1", "Bearer t2", "Bearer t2"], "{name}");
    assert_eq!(logins.started(), 2, "{name}");
}

trait AsResponse {
    fn status(&self) -> StatusCode;
}

impl<B> AsResponse for Response<B> {
    fn status(&self) -> StatusCode {
        Response::status(self)
    }
}

#[derive(Clone)]
struct OnError;

impl<B: Clone, R, E> Policy<Request<B>, R, E> for OnError {
    type Future = Ready<()>;
    fn retry(&mut self, _: &mut Request<B>, result: &mut Result<R, E>) -> Option<Ready<()>> {
        result.is_err().then(|| ready(()))
    }
    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

fn trace() -> TraceLayer<HttpMakeClassifier> {
    TraceLayer::new_for_http()
}

#[tokio::test(start_paused = true)]
async fn alone() {
    holds("alone", |auth, inner| auth.layer(inner)).await;
}

#[tokio::test(start_paused = true)]
async fn below_each_layer() {
    holds("buffer", |auth, inner| ServiceBuilder::new().buffer(1).layer(auth).service(inner)).await;
    holds("concurrency limit", |auth, inner| ServiceBuilder::new().concurrency_limit(1).layer(auth).service(inner))
        .await;
    holds("rate limit", |auth, inner| ServiceBuilder::new().rate_limit(1, secs(1)).layer(auth).service(inner)).await;
    holds("timeout", |auth, inner| ServiceBuilder::new().timeout(secs(60)).layer(auth).service(inner)).await;
    holds("retry", |auth, inner| ServiceBuilder::new().retry(OnError).layer(auth).service(inner)).await;
    holds("load shed", |auth, inner| ServiceBuilder::new().load_shed().layer(auth).service(inner)).await;
    holds("redirects", |auth, inner| {
        ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(auth).service(inner)
    })
    .await;
    holds("trace", |auth, inner| {
        ServiceBuilder::new().map_err(BoxError::from).layer(trace()).map_err(BoxError::from).layer(auth).service(inner)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn above_each_layer() {
    holds("buffer", |auth, inner| ServiceBuilder::new().layer(auth).buffer(1).service(inner)).await;
    holds("concurrency limit", |auth, inner| {
        ServiceBuilder::new().layer(auth).layer(ConcurrencyLimitLayer::new(1)).service(inner)
    })
    .await;
    holds("timeout", |auth, inner| ServiceBuilder::new().layer(auth).timeout(secs(60)).service(inner)).await;
    holds("retry", |auth, inner| ServiceBuilder::new().layer(auth).retry(OnError).service(inner)).await;
    holds("load shed", |auth, inner| ServiceBuilder::new().layer(auth).load_shed().service(inner)).await;
    holds("redirects", |auth, inner| {
        ServiceBuilder::new().layer(auth).layer(FollowRedirectLayer::new()).service(inner)
    })
    .await;
    holds("trace", |auth, inner| ServiceBuilder::new().layer(auth).layer(trace()).service(inner)).await;
    holds("rate limit", |auth, inner| {
        ServiceBuilder::new().layer(auth).buffer(1).rate_limit(1, secs(1)).service(inner)
    })
    .await;
    holds("balance", |auth, inner| {
        let load = PendingRequests::new(inner, CompleteOnResponse::default());
        ServiceBuilder::new().layer(auth).buffer(1).service(Balance::new(tower::discover::ServiceList::new([load])))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer() {
    holds("balance", |auth, inner| {
        let load = PendingRequests::new(auth.layer(inner), CompleteOnResponse::default());
        let services = tower::discover::ServiceList::new([load]);
        Balance::new(services)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn below_a_ready_cache() {
    let (logins, inner) = (Logins::default(), Strict::default());
    let client = AuthRefreshLayer::new(refresher(&logins)).replay(ReplayClone).layer(inner.clone());
    let mut cache = ReadyCache::default();
    cache.push("api", client);
    for _ in 0..2 {
        std::future::poll_fn(|cx| cache.poll_pending(cx)).await.unwrap();
        let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
        assert!(cache.check_ready_index(&mut Context::from_waker(std::task::Waker::noop()), 0).unwrap());
        assert_eq!(cache.call_ready_index(0, request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(*inner.seen.lock().unwrap(), ["Bearer t1", "Bearer t2", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_api_and_login_share_is_enough_for_both() {
    let slot = Arc::new(Semaphore::new(1));
    let login = ServiceBuilder::new().layer(GlobalConcurrencyLimitLayer::with_semaphore(slot.clone())).service(
        Logins::default().service(|n| async move {
            sleep(secs(1)).await;
            token(n, HOUR)
        }),
    );
    let refresher = AuthRefresher::builder(login).min_rejection_age(Duration::ZERO).build().unwrap();
    let inner = Strict::default();
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).replay(ReplayClone))
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(slot))
        .service(inner.clone());
    let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
    let response = tokio::time::timeout(secs(9), client.oneshot(request)).await.expect("they wait for each other");
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    assert_eq!(*inner.seen.lock().unwrap(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_below_ends_a_request_and_not_the_login() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    let slow = service_fn(|_: Request<Body>| async {
        sleep(HOUR).await;
        Ok::<_, BoxError>(Response::new(()))
    });
    let client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher)).timeout(secs(5)).service(slow);
    let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
    let error = client.oneshot(request).await.unwrap_err().into_source();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    assert_eq!(logins.started(), 1);
}
