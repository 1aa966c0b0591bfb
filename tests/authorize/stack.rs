//! The layer above and below each layer of tower and tower-http. The inner service checks that `poll_ready` comes
//! before `call`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{HOUR, MockLogin, secs, token};
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

/// Panics if `call` comes before `poll_ready`. A clone is not ready. Rejects the first token and accepts all others.
#[derive(Debug, Default)]
struct RequiresReady {
    ready: bool,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Clone for RequiresReady {
    fn clone(&self) -> Self {
        Self { ready: false, tokens: self.tokens.clone() }
    }
}

impl Service<Request<Body>> for RequiresReady {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "call before poll_ready");
        let token = request
            .headers()
            .get(AUTHORIZATION)
            .map_or("none", |value| value.to_str().unwrap())
            .to_owned();
        let status = if token == "Bearer t1" { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        self.tokens.lock().unwrap().push(token);
        ready(Ok(Response::builder().status(status).body(Body::default()).unwrap()))
    }
}

fn refresher(logins: &MockLogin) -> AuthRefresher {
    logins
        .builder(|n| async move {
            sleep(secs(1)).await;
            token(n, HOUR)
        })
        .min_rejection_age(Duration::ZERO)
        .build()
        .unwrap()
}

/// Sends two requests through a stack. The first waits for a token, is rejected and replayed. The second uses the new
/// token.
async fn assert_works<S>(
    name: &str,
    build: impl FnOnce(AuthRefreshLayer<ReplayClone>, RequiresReady) -> S,
) where
    S: Service<Request<Body>, Response: AsResponse, Error: Into<BoxError>>,
{
    let (logins, inner) = (MockLogin::default(), RequiresReady::default());
    let layer = AuthRefreshLayer::new(refresher(&logins)).replay(ReplayClone);
    let mut stack = build(layer, inner.clone());
    for _ in 0..2 {
        let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
        let call = async {
            stack.ready().await.map_err(Into::into)?.call(request).await.map_err(Into::into)
        };
        let response: Result<_, BoxError> =
            tokio::time::timeout(HOUR, call).await.expect("the call hangs");
        assert_eq!(response.unwrap().status(), StatusCode::OK, "{name}");
    }
    assert_eq!(*inner.tokens.lock().unwrap(), ["Bearer t1", "Bearer t2", "Bearer t2"], "{name}");
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

/// Retries errors.
#[derive(Clone)]
struct RetryErrors;

impl<B: Clone, R, E> Policy<Request<B>, R, E> for RetryErrors {
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
async fn layer_alone_works() {
    assert_works("alone", |auth, inner| auth.layer(inner)).await;
}

#[tokio::test(start_paused = true)]
async fn layer_works_below_each_layer() {
    assert_works("buffer", |auth, inner| {
        ServiceBuilder::new().buffer(1).layer(auth).service(inner)
    })
    .await;
    assert_works("concurrency limit", |auth, inner| {
        ServiceBuilder::new().concurrency_limit(1).layer(auth).service(inner)
    })
    .await;
    assert_works("rate limit", |auth, inner| {
        ServiceBuilder::new().rate_limit(1, secs(1)).layer(auth).service(inner)
    })
    .await;
    assert_works("timeout", |auth, inner| {
        ServiceBuilder::new().timeout(secs(60)).layer(auth).service(inner)
    })
    .await;
    assert_works("retry", |auth, inner| {
        ServiceBuilder::new().retry(RetryErrors).layer(auth).service(inner)
    })
    .await;
    assert_works("load shed", |auth, inner| {
        ServiceBuilder::new().load_shed().layer(auth).service(inner)
    })
    .await;
    assert_works("redirects", |auth, inner| {
        ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(auth).service(inner)
    })
    .await;
    assert_works("trace", |auth, inner| {
        ServiceBuilder::new()
            .map_err(BoxError::from)
            .layer(trace())
            .map_err(BoxError::from)
            .layer(auth)
            .service(inner)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn layer_works_above_each_layer() {
    assert_works("buffer", |auth, inner| {
        ServiceBuilder::new().layer(auth).buffer(1).service(inner)
    })
    .await;
    assert_works("concurrency limit", |auth, inner| {
        ServiceBuilder::new().layer(auth).layer(ConcurrencyLimitLayer::new(1)).service(inner)
    })
    .await;
    assert_works("timeout", |auth, inner| {
        ServiceBuilder::new().layer(auth).timeout(secs(60)).service(inner)
    })
    .await;
    assert_works("retry", |auth, inner| {
        ServiceBuilder::new().layer(auth).retry(RetryErrors).service(inner)
    })
    .await;
    assert_works("load shed", |auth, inner| {
        ServiceBuilder::new().layer(auth).load_shed().service(inner)
    })
    .await;
    assert_works("redirects", |auth, inner| {
        ServiceBuilder::new().layer(auth).layer(FollowRedirectLayer::new()).service(inner)
    })
    .await;
    assert_works("trace", |auth, inner| {
        ServiceBuilder::new().layer(auth).layer(trace()).service(inner)
    })
    .await;
    assert_works("rate limit", |auth, inner| {
        ServiceBuilder::new().layer(auth).buffer(1).rate_limit(1, secs(1)).service(inner)
    })
    .await;
    assert_works("balance", |auth, inner| {
        let load = PendingRequests::new(inner, CompleteOnResponse::default());
        ServiceBuilder::new()
            .layer(auth)
            .buffer(1)
            .service(Balance::new(tower::discover::ServiceList::new([load])))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn layer_works_below_balance() {
    assert_works("balance", |auth, inner| {
        let load = PendingRequests::new(auth.layer(inner), CompleteOnResponse::default());
        let services = tower::discover::ServiceList::new([load]);
        Balance::new(services)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn layer_works_below_ready_cache() {
    let (logins, inner) = (MockLogin::default(), RequiresReady::default());
    let client = AuthRefreshLayer::new(refresher(&logins)).replay(ReplayClone).layer(inner.clone());
    let mut cache = ReadyCache::default();
    cache.push("api", client);
    for _ in 0..2 {
        std::future::poll_fn(|cx| cache.poll_pending(cx)).await.unwrap();
        let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
        assert!(
            cache.check_ready_index(&mut Context::from_waker(std::task::Waker::noop()), 0).unwrap()
        );
        assert_eq!(cache.call_ready_index(0, request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(*inner.tokens.lock().unwrap(), ["Bearer t1", "Bearer t2", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn api_and_login_sharing_one_permit_do_not_deadlock() {
    let permit = Arc::new(Semaphore::new(1));
    let login = ServiceBuilder::new()
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(permit.clone()))
        .service(MockLogin::default().service(|n| async move {
            sleep(secs(1)).await;
            token(n, HOUR)
        }));
    let refresher =
        AuthRefresher::builder(login).min_rejection_age(Duration::ZERO).build().unwrap();
    let inner = RequiresReady::default();
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).replay(ReplayClone))
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(permit))
        .service(inner.clone());
    let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
    let response = tokio::time::timeout(secs(9), client.oneshot(request))
        .await
        .expect("the call and the login wait for each other");
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    assert_eq!(*inner.tokens.lock().unwrap(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn timeout_below_layer_fails_request_but_not_login() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    let slow = service_fn(|_: Request<Body>| async {
        sleep(HOUR).await;
        Ok::<_, BoxError>(Response::new(()))
    });
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher))
        .timeout(secs(5))
        .service(slow);
    let request = Request::get("https://api.example.com/").body(Body::default()).unwrap();
    let error = client.oneshot(request).await.unwrap_err().into_source();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    assert_eq!(logins.started(), 1);
}
