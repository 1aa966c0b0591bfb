//! The layer's effect on requests, and its contract with the inner service.

use std::{
    convert::Infallible,
    error::Error as _,
    future::{Ready, pending, ready},
    mem::size_of,
    sync::{Arc, Mutex, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{HOUR, MockLogin, request, secs, send, token};
use http::{
    Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, buffer::Buffer, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefresherBuilder, Error, LoginRequest,
    NoTokenPolicy, ReplayClone, ResponseFuture, UnsafeDestination,
};

fn refresher_with(token: &'static str) -> AuthRefresher {
    AuthRefresher::new(service_fn(move |_: LoginRequest| ready(AccessToken::bearer(token))))
}

async fn echo(request: Request<()>) -> Result<Response<Vec<HeaderValue>>, BoxError> {
    Ok(Response::new(request.headers().get_all(AUTHORIZATION).iter().cloned().collect()))
}

#[tokio::test]
async fn header_is_sensitive_and_replaces_existing_values() {
    let client = AuthRefreshLayer::new(refresher_with("abc")).layer(service_fn(echo));
    let mut request = request();
    request.headers_mut().append(AUTHORIZATION, HeaderValue::from_static("Basic Zm9v"));
    request.headers_mut().append(AUTHORIZATION, HeaderValue::from_static("Basic YmFy"));
    let headers = client.oneshot(request).await.unwrap().into_body();
    assert_eq!(headers, ["Bearer abc"]);
    assert!(headers.iter().all(HeaderValue::is_sensitive));
}

#[tokio::test]
async fn unsafe_destination_fails_unless_plaintext_is_allowed() {
    let layer = AuthRefreshLayer::new(refresher_with("abc"));
    for (uri, expected) in [
        ("http://example.com/", UnsafeDestination::Plaintext),
        ("/origin-form", UnsafeDestination::NoAuthority),
    ] {
        let request = || Request::get(uri).body(()).unwrap();
        let never_called = service_fn(|_: Request<()>| async {
            panic!("the layer sent the request") as Result<Response<()>, Infallible>
        });
        let error = layer.layer(never_called).oneshot(request()).await.unwrap_err();
        assert!(matches!(error, Error::Destination(why) if why == expected), "{error}");

        let allowed = layer.clone().allow_plaintext(true).layer(service_fn(echo));
        assert_eq!(allowed.oneshot(request()).await.unwrap().into_body(), ["Bearer abc"]);
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_does_not_wait_for_token() {
    let refresher = MockLogin::default().refresher(|_| pending());
    let mut client = crate::support::client(&refresher);
    let start = Instant::now();
    client.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn inner_error_is_returned_unchanged() {
    let failing = service_fn(|_: Request<()>| ready(Err::<Response<()>, _>(std::fmt::Error)));
    let error = AuthRefreshLayer::new(refresher_with("abc"))
        .layer(failing)
        .oneshot(request())
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Inner(inner) if inner.is::<std::fmt::Error>()));
    assert!(error.into_source().is::<std::fmt::Error>());
}

#[tokio::test]
async fn layer_works_between_services_with_boxed_errors() {
    let inner = ServiceBuilder::new().buffer::<Request<()>>(1).timeout(HOUR).service_fn(echo);
    let client = ServiceBuilder::new()
        .buffer(1)
        .timeout(HOUR)
        .layer(AuthRefreshLayer::new(refresher_with("abc")))
        .service(inner);
    assert_eq!(client.oneshot(request()).await.unwrap().into_body(), ["Bearer abc"]);
}

/// Panics if `call` comes before `poll_ready`. A clone is not ready.
#[derive(Debug, Default)]
struct RequiresReady {
    ready: bool,
}

impl Clone for RequiresReady {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<()>> for RequiresReady {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "call before poll_ready");
        ready(Ok(Response::new(())))
    }
}

#[tokio::test]
async fn inner_service_is_ready_before_each_call() {
    let mut client = AuthRefreshLayer::new(refresher_with("abc")).layer(RequiresReady::default());
    for _ in ["without a token", "with a token"] {
        client.ready().await.unwrap().call(request()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn login_sharing_concurrency_limit_does_not_deadlock() {
    let slot = Arc::new(Semaphore::new(1));
    let api = ServiceBuilder::new()
        .layer(tower::limit::GlobalConcurrencyLimitLayer::with_semaphore(slot.clone()))
        .service_fn(echo);
    let login = ServiceBuilder::new()
        .layer(tower::limit::GlobalConcurrencyLimitLayer::with_semaphore(slot))
        .service_fn(|_: LoginRequest| async {
            sleep(secs(1)).await;
            token(1, HOUR)
        });
    let client = AuthRefreshLayer::with_login(login).layer(api);
    assert_eq!(client.oneshot(request()).await.unwrap().into_body(), ["Bearer t1"]);
}

#[tokio::test(start_paused = true)]
async fn call_that_is_not_sent_releases_readiness() {
    let mut client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher_with("abc")))
        .concurrency_limit(1)
        .service_fn(echo);
    let mut other = client.clone();
    let unsafe_request = Request::get("http://api.example.com/").body(()).unwrap();
    client.ready().await.unwrap().call(unsafe_request).await.unwrap_err();
    tokio::time::timeout(secs(1), other.ready()).await.expect("the permit is free").unwrap();
}

#[tokio::test(start_paused = true)]
async fn call_waiting_for_token_releases_readiness() {
    let refresher = MockLogin::default().refresher(|n| async move {
        sleep(secs(1)).await;
        token(n, HOUR)
    });
    let inner = Buffer::new(service_fn(echo), 1);
    let waiting = AuthRefreshLayer::new(refresher).layer(inner.clone()).oneshot(request());
    let mut waiting = tokio_test::task::spawn(waiting);
    assert!(waiting.poll().is_pending());
    // The only slot of the buffer is free.
    inner.oneshot(request()).await.unwrap();
    waiting.await.unwrap();
}

/// The token of each request, and the second of its sending.
type Sent = Arc<Mutex<Vec<(String, u64)>>>;

/// Takes 8 seconds for each request, and can reject all tokens of the first 10 seconds.
fn slow_api(
    rejects: bool,
    sent: Sent,
) -> impl Service<Request<()>, Response = Response<()>, Error = BoxError, Future: Send> + Clone {
    let start = Instant::now();
    service_fn(move |request: Request<()>| {
        let token = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
        sent.lock().unwrap().push((token, start.elapsed().as_secs()));
        let status = if rejects && start.elapsed() < secs(10) { 401 } else { 200 };
        async move {
            sleep(secs(8)).await;
            Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_readiness_sends_the_token_of_that_moment() {
    for rejects in [false, true] {
        let (logins, sent, issued_at) =
            (MockLogin::default(), Sent::default(), Arc::new(Mutex::new(vec![0])));
        let (start, issued) = (Instant::now(), issued_at.clone());
        let refresher = logins.refresher(move |n| {
            let issued = issued.clone();
            async move {
                issued.lock().unwrap().push(start.elapsed().as_secs());
                sleep(secs(1)).await;
                token(n, secs(10))
            }
        });
        let layer = AuthRefreshLayer::new(refresher).replay(ReplayClone);
        let client = ServiceBuilder::new()
            .layer(layer)
            .concurrency_limit(1)
            .service(slow_api(rejects, sent.clone()));
        // All calls begin before there is a token.
        let calls = (0..4).map(|_| client.clone().oneshot(request()));
        for response in futures::future::join_all(calls).await {
            assert_eq!(response.unwrap().status(), 200);
        }
        for (token, second) in &*sent.lock().unwrap() {
            let number: usize = token.strip_prefix("Bearer t").unwrap().parse().unwrap();
            let issued_at = issued_at.lock().unwrap()[number];
            assert!(
                (issued_at..issued_at + 10).contains(second),
                "{token} of {issued_at} s was sent at {second} s"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn call_whose_token_expires_before_readiness_is_not_sent_with_it() {
    let refresher = MockLogin::default()
        .refresher(|n| async move { if n == 1 { token(n, secs(10)) } else { Err("down".into()) } });
    let slot = Arc::new(Semaphore::new(1));
    let limit = tower::limit::GlobalConcurrencyLimitLayer::with_semaphore(slot.clone());
    let mut client =
        ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher)).layer(limit).service_fn(echo);
    // The call releases its readiness to wait for the token. Another takes it until the token has expired.
    let call = tokio::spawn(client.ready().await.unwrap().call(request()));
    let taken = slot.acquire().await.unwrap();
    sleep(secs(11)).await;
    drop(taken);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Login(_)), "{error}");
}

/// Sends a request that is rejected, and holds up its replay until something has happened to the newer token. Returns
/// what was sent, and the result.
async fn replay_held_up(
    builder: AuthRefresherBuilder,
    before_ready: impl AsyncFnOnce(&AuthRefresher),
) -> (Vec<String>, Result<StatusCode, Error>) {
    let refresher = builder.build().unwrap();
    refresher.ready().await.unwrap();
    sleep(secs(5)).await;
    let (sent, slot) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(1)));
    let api = service_fn({
        let sent = sent.clone();
        move |request: Request<()>| {
            let token = request
                .headers()
                .get(AUTHORIZATION)
                .map_or("none", |value| value.to_str().unwrap());
            let mut sent = sent.lock().unwrap();
            sent.push(token.to_owned());
            let status = if sent.len() == 1 { 401 } else { 200 };
            async move {
                sleep(secs(1)).await;
                Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap())
            }
        }
    });
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone))
        .layer(tower::limit::GlobalConcurrencyLimitLayer::with_semaphore(slot.clone()))
        .service(api);
    let call = tokio::spawn(client.oneshot(request()));
    sleep(Duration::from_millis(100)).await;
    // Taken as soon as the rejected response has released it.
    let taken = slot.acquire().await.unwrap();
    before_ready(&refresher).await;
    drop(taken);
    let result = call.await.unwrap().map(|response| response.status());
    let sent = sent.lock().unwrap().clone();
    (sent, result)
}

#[tokio::test(start_paused = true)]
async fn replay_that_waits_for_readiness_never_repeats_the_rejected_token() {
    let logins = MockLogin::default();
    let builder = logins.builder(|n| async move { token(if n == 2 { 2 } else { 1 }, HOUR) });
    let (sent, result) = replay_held_up(builder, async |refresher| {
        sleep(secs(3)).await;
        refresher.invalidate();
        sleep(secs(3)).await;
        assert_eq!(refresher.token().await.unwrap().secret(), "t1");
    })
    .await;
    assert_eq!(sent, ["Bearer t1"]);
    let error = result.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "login returned the same token");
}

#[tokio::test(start_paused = true)]
async fn replay_that_waits_for_readiness_is_never_sent_without_a_token() {
    for policy in [NoTokenPolicy::Fail, NoTokenPolicy::SendUnauthenticated] {
        let logins = MockLogin::default();
        let builder = logins.builder(|n| async move {
            match n {
                1 => token(1, HOUR),
                2 => token(2, secs(10)),
                _ => Err("down".into()),
            }
        });
        let (sent, result) =
            replay_held_up(builder.no_token_policy(policy), async |_| sleep(secs(15)).await).await;
        assert_eq!(sent, ["Bearer t1"], "{policy:?}");
        assert!(matches!(result, Err(Error::Login(_))), "{policy:?}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reentrant_login_fails_immediately() {
    let self_handle = Arc::new(std::sync::OnceLock::<AuthRefresher>::new());
    let inner_failed = Arc::new(AtomicBool::new(false));
    let (handle, failed) = (self_handle.clone(), inner_failed.clone());
    let login = service_fn(move |_: LoginRequest| {
        let (handle, failed) = (handle.clone(), failed.clone());
        async move {
            let error = send(handle.get().unwrap()).await.unwrap_err();
            failed.store(true, std::sync::atomic::Ordering::SeqCst);
            Err::<AccessToken, _>(BoxError::from(error))
        }
    });
    let refresher = AuthRefresher::new(login);
    self_handle.set(refresher.clone()).unwrap();
    let start = Instant::now();
    let error = send(&refresher).await.unwrap_err();
    let no_token = "no access token available";
    let reentrant = "login service waits for its own token";
    assert_eq!(crate::support::chain(&error), [no_token, "login failed", no_token, reentrant]);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(inner_failed.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn future_adds_at_most_64_bytes_to_inner_future() {
    #[derive(Clone)]
    struct Sized<const N: usize>;
    impl<const N: usize> Service<Request<()>> for Sized<N> {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = Inner<N>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<()>) -> Inner<N> {
            Inner([0; N])
        }
    }
    struct Inner<const N: usize>(#[allow(dead_code)] [u8; N]);
    impl<const N: usize> Future for Inner<N> {
        type Output = Result<Response<()>, Infallible>;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Pending
        }
    }
    fn added<const N: usize>() -> usize {
        size_of::<ResponseFuture<Sized<N>, ()>>() - size_of::<Inner<N>>()
    }
    for added in [added::<0>(), added::<8>(), added::<100>(), added::<1000>()] {
        assert!(added <= 64, "{added} bytes");
    }
    let with_replay = size_of::<ResponseFuture<Sized<112>, (), ReplayClone>>();
    assert!(with_replay <= 136, "{with_replay} bytes");
}

#[test]
fn service_and_future_are_send_if_their_parts_are() {
    fn assert_send<T: Send>(_: &T) {}
    fn assert_sync<T: Sync>(_: &T) {}
    let mut client = AuthRefreshLayer::new(refresher_with("abc")).layer(service_fn(echo));
    assert_send(&client);
    assert_sync(&client);
    assert_send(&client.call(request()));

    // The service accepts an inner service that is not `Send`.
    let not_send = std::rc::Rc::new(());
    let inner = service_fn(move |_: Request<()>| {
        let not_send = not_send.clone();
        async move {
            drop(not_send);
            Ok::<_, Infallible>(Response::new(()))
        }
    });
    drop(AuthRefreshLayer::new(refresher_with("abc")).layer(inner).call(request()));
}

#[tokio::test(start_paused = true)]
async fn fixed_layer_keeps_its_token_after_rejections() {
    let unauthorized = service_fn(|request: Request<()>| {
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer abc");
        let response = Response::builder().status(http::StatusCode::UNAUTHORIZED).body(());
        ready(Ok::<_, BoxError>(response.unwrap()))
    });
    let mut client =
        tower_auth_refresh::test_util::static_layer("abc").unwrap().layer(unauthorized);
    for _ in 0..20 {
        client
            .ready()
            .await
            .unwrap()
            .call(Request::get("https://a.example").body(()).unwrap())
            .await
            .unwrap();
        tokio::time::sleep(HOUR).await;
    }
}

/// Whether a type is a layer for a service. The inherent constant has priority, where its bound holds.
struct Check<L, S>(std::marker::PhantomData<(L, S)>);

trait NotALayer {
    const IS_LAYER: bool = false;
}

impl<L, S> NotALayer for Check<L, S> {}

impl<L: Layer<S>, S> Check<L, S> {
    const IS_LAYER: bool = true;
}

/// If the layer accepted any service, the compiler would name a method of the client instead of the missing `Clone`.
#[test]
fn layer_requires_a_service_that_is_clone() {
    type Boxed = tower::util::BoxService<Request<()>, Response<()>, BoxError>;
    type BoxedClone = tower::util::BoxCloneService<Request<()>, Response<()>, BoxError>;
    const { assert!(!Check::<AuthRefreshLayer, Boxed>::IS_LAYER) };
    const { assert!(Check::<AuthRefreshLayer, BoxedClone>::IS_LAYER) };
}
