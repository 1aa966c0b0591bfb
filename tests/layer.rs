//! What the layer does to requests, and to the service beneath it.

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    mem::size_of,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use harness::{HOUR, Logins, request, secs, send, token};
use http::{
    Request, Response,
    header::{AUTHORIZATION, HeaderValue},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, buffer::Buffer, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, Error, LoginRequest, ResponseFuture, UnsafeDestination,
};

fn fixed(token: &'static str) -> AuthRefresher {
    AuthRefresher::new(service_fn(move |_: LoginRequest| ready(AccessToken::bearer(token))))
}

async fn echo(request: Request<()>) -> Result<Response<Vec<HeaderValue>>, BoxError> {
    Ok(Response::new(request.headers().get_all(AUTHORIZATION).iter().cloned().collect()))
}

#[tokio::test]
async fn the_header_is_sensitive_and_takes_the_place_of_the_callers() {
    let client = AuthRefreshLayer::new(fixed("abc")).layer(service_fn(echo));
    let mut request = request();
    request.headers_mut().append(AUTHORIZATION, HeaderValue::from_static("Basic Zm9v"));
    request.headers_mut().append(AUTHORIZATION, HeaderValue::from_static("Basic YmFy"));
    let sent = client.oneshot(request).await.unwrap().into_body();
    assert_eq!(sent, ["Bearer abc"]);
    assert!(sent.iter().all(HeaderValue::is_sensitive));
}

#[tokio::test]
async fn a_token_goes_in_plain_text_only_where_allowed_and_the_request_is_not_sent_otherwise() {
    let layer = AuthRefreshLayer::new(fixed("abc"));
    for (uri, refused) in
        [("http://example.com/", UnsafeDestination::Plaintext), ("/origin-form", UnsafeDestination::NoAuthority)]
    {
        let request = || Request::get(uri).body(()).unwrap();
        let unreached =
            service_fn(|_: Request<()>| async { panic!("the request was sent") as Result<Response<()>, Infallible> });
        let error = layer.layer(unreached).oneshot(request()).await.unwrap_err();
        assert!(matches!(error, Error::Destination(why) if why == refused), "{error}");

        let allowed = layer.clone().allow_plaintext(true).layer(service_fn(echo));
        assert_eq!(allowed.oneshot(request()).await.unwrap().into_body(), ["Bearer abc"]);
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_does_not_wait_for_a_token_and_does_not_fail_without_one() {
    let refresher = Logins::default().refresher(|_| pending());
    let mut client = harness::client(&refresher);
    let start = Instant::now();
    client.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn an_inner_error_comes_through_as_itself() {
    let failing = service_fn(|_: Request<()>| ready(Err::<Response<()>, _>(std::fmt::Error)));
    let error = AuthRefreshLayer::new(fixed("abc")).layer(failing).oneshot(request()).await.unwrap_err();
    assert!(matches!(&error, Error::Inner(inner) if inner.is::<std::fmt::Error>()));
    assert!(error.into_source().is::<std::fmt::Error>());
}

#[tokio::test]
async fn it_stands_below_and_above_services_with_boxed_errors() {
    let inner = ServiceBuilder::new().buffer::<Request<()>>(1).timeout(HOUR).service_fn(echo);
    let client =
        ServiceBuilder::new().buffer(1).timeout(HOUR).layer(AuthRefreshLayer::new(fixed("abc"))).service(inner);
    assert_eq!(client.oneshot(request()).await.unwrap().into_body(), ["Bearer abc"]);
}

/// Panics when it is called without having been made ready, and is not ready when cloned.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        ready(Ok(Response::new(())))
    }
}

#[tokio::test]
async fn no_service_is_called_before_it_is_ready() {
    let mut client = AuthRefreshLayer::new(fixed("abc")).layer(Strict::default());
    for _ in ["without a token", "with a token"] {
        client.ready().await.unwrap().call(request()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_shares_the_apis_only_slot_does_not_wait_for_itself() {
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
async fn a_call_that_waits_for_a_token_holds_nothing_of_the_inner_service() {
    let refresher = Logins::default().refresher(|n| async move {
        sleep(secs(1)).await;
        token(n, HOUR)
    });
    let inner = Buffer::new(service_fn(echo), 1);
    let waiting = AuthRefreshLayer::new(refresher).layer(inner.clone()).oneshot(request());
    let mut waiting = tokio_test::task::spawn(waiting);
    assert!(waiting.poll().is_pending());
    // The buffer's only slot is free.
    inner.oneshot(request()).await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_login_that_needs_its_own_token_fails_at_once() {
    let handle = Arc::new(std::sync::OnceLock::<AuthRefresher>::new());
    let caught = Arc::new(AtomicBool::new(false));
    let (own, seen) = (handle.clone(), caught.clone());
    let login = service_fn(move |_: LoginRequest| {
        let (own, seen) = (own.clone(), seen.clone());
        async move {
            let error = send(own.get().unwrap()).await.unwrap_err();
            seen.store(true, std::sync::atomic::Ordering::SeqCst);
            Err::<AccessToken, _>(BoxError::from(error))
        }
    });
    let refresher = AuthRefresher::new(login);
    handle.set(refresher.clone()).unwrap();
    let start = Instant::now();
    let error = send(&refresher).await.unwrap_err();
    let no_token = "no access token available";
    let own = "login service waits for its own token";
    assert_eq!(harness::chain(&error), [no_token, "login failed", no_token, own]);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(caught.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn the_future_is_hardly_larger_than_the_inner_one() {
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
}

#[test]
fn the_service_and_its_future_are_send_if_their_parts_are() {
    fn assert_send<T: Send>(_: &T) {}
    fn assert_sync<T: Sync>(_: &T) {}
    let mut client = AuthRefreshLayer::new(fixed("abc")).layer(service_fn(echo));
    assert_send(&client);
    assert_sync(&client);
    assert_send(&client.call(request()));

    // And they are of use if they are not.
    let not_send = std::rc::Rc::new(());
    let inner = service_fn(move |_: Request<()>| {
        let not_send = not_send.clone();
        async move {
            drop(not_send);
            Ok::<_, Infallible>(Response::new(()))
        }
    });
    drop(AuthRefreshLayer::new(fixed("abc")).layer(inner).call(request()));
}

#[tokio::test(start_paused = true)]
async fn a_fixed_layer_sends_its_token_whatever_is_rejected() {
    let unauthorized = service_fn(|request: Request<()>| {
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer abc");
        let response = Response::builder().status(http::StatusCode::UNAUTHORIZED).body(());
        ready(Ok::<_, BoxError>(response.unwrap()))
    });
    let mut client = tower_auth_refresh::test_util::fixed("abc").unwrap().layer(unauthorized);
    for _ in 0..20 {
        client.ready().await.unwrap().call(Request::get("https://a.example").body(()).unwrap()).await.unwrap();
        tokio::time::sleep(HOUR).await;
    }
}
