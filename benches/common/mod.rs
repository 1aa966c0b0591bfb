//! The requests, the inner service and the timing that all benches share.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part")]

pub mod timing;

use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, Uri,
    header::{ACCEPT, AUTHORIZATION},
};
use tokio::runtime::Runtime;
use tower::{Service, service_fn};
use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, Expiry, LoginRequest};

/// The length of a JWT with a few claims, in bytes.
pub fn secret() -> String {
    "x".repeat(900)
}

/// Creates requests that have one header and capacity for more, so that no case pays for the growth of the map.
#[derive(Clone, Debug)]
pub struct Requests {
    uri: Uri,
    accept: HeaderValue,
}

impl Requests {
    pub fn new() -> Self {
        let uri = Uri::from_static("https://api.example.com/things/1");
        Self { uri, accept: HeaderValue::from_static("application/json") }
    }

    #[inline]
    pub fn next(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().reserve(8);
        request.headers_mut().insert(ACCEPT, self.accept.clone());
        request
    }
}

/// An inner service in memory that responds at once. Its error is boxed, as in most clients.
#[derive(Clone, Copy, Debug)]
pub struct Inner;

impl<B> Service<Request<B>> for Inner {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Ready<Result<Response<()>, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(())))
    }
}

/// Polls one call once, from readiness to the response.
#[inline]
pub fn call<B, S: Service<Request<B>>>(service: &mut S, request: Request<B>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut context), Poll::Ready(Ok(()))));
    let future = pin!(service.call(request));
    let outcome = future.poll(&mut context);
    black_box(&outcome);
    assert!(matches!(outcome, Poll::Ready(Ok(_))));
}

/// The code that users write for a token that never changes.
#[derive(Clone, Debug)]
pub struct HandWritten<S> {
    pub inner: S,
    pub value: HeaderValue,
}

impl<S: Service<Request<()>>> Service<Request<()>> for HandWritten<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<()>) -> S::Future {
        request.headers_mut().insert(AUTHORIZATION, self.value.clone());
        self.inner.call(request)
    }
}

/// A refresher with a token, and a runtime for its worker.
pub fn refresher() -> (Runtime, AuthRefresher) {
    refresher_on(tokio::runtime::Builder::new_multi_thread().worker_threads(1), Expiry::Never)
}

/// As above, on a current-thread runtime, where each use checks the expiry.
pub fn refresher_on_current_thread() -> (Runtime, AuthRefresher) {
    refresher_on(
        &mut tokio::runtime::Builder::new_current_thread(),
        Expiry::In(Duration::from_secs(3600)),
    )
}

fn refresher_on(runtime: &mut tokio::runtime::Builder, expiry: Expiry) -> (Runtime, AuthRefresher) {
    let runtime = runtime.enable_all().build().unwrap();
    let secret: Arc<str> = secret().into();
    let refresher = AuthRefresher::new(service_fn(move |_: LoginRequest| {
        ready(
            AccessToken::bearer(&*secret)
                .map(|token| token.with_expiry(expiry))
                .map_err(BoxError::from),
        )
    }));
    runtime.block_on(refresher.ready()).unwrap();
    (runtime, refresher)
}
