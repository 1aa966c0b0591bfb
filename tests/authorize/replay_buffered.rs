//! What `ReplayBuffered` does to a body: how often it is polled, how long it is recorded, and when it is replayed.
#![cfg(feature = "replay-buffered")]

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefreshLayer, BufferedBody, ReplayBuffered};

use crate::support::{HOUR, MockLogin, token};

type Item = Result<Frame<Bytes>, BoxError>;

fn data(text: &'static [u8]) -> Item {
    Ok(Frame::data(Bytes::from_static(text)))
}

fn layer() -> AuthRefreshLayer<ReplayBuffered> {
    let builder = MockLogin::default().builder(|n| async move { token(n, HOUR) });
    AuthRefreshLayer::new(builder.min_rejection_age(Duration::ZERO).build().unwrap())
        .replay(ReplayBuffered::new())
}

fn post<B>(body: B) -> Request<B> {
    Request::post("https://api.example.com/").body(body).unwrap()
}

/// Returns the body that an inner service receives, after the layer has returned the response.
async fn received<B>(body: B) -> BufferedBody<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let received = Arc::new(Mutex::new(None));
    let inner = received.clone();
    let service = service_fn(move |request: Request<BufferedBody<B>>| {
        *inner.lock().unwrap() = Some(request.into_body());
        async { Ok::<_, BoxError>(Response::new(())) }
    });
    layer().layer(service).oneshot(post(body)).await.unwrap();
    received.lock().unwrap().take().unwrap()
}

/// Rejects a request after `first` has read from its body. Returns the bodies of the replays.
async fn replayed<B, F, Fut>(body: B, first: F) -> Vec<Bytes>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    F: Fn(BufferedBody<B>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let replays = Arc::new(Mutex::new(Vec::new()));
    let (inner, attempts) = (replays.clone(), Arc::new(AtomicUsize::new(0)));
    let service = service_fn(move |request: Request<BufferedBody<B>>| {
        let (replays, first, attempt) =
            (inner.clone(), first.clone(), attempts.fetch_add(1, SeqCst));
        async move {
            let mut response = Response::new(());
            if attempt == 0 {
                first(request.into_body()).await;
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            } else {
                let body = request.into_body().collect().await?.to_bytes();
                replays.lock().unwrap().push(body);
            }
            Ok::<_, BoxError>(response)
        }
    });
    let _ = layer().layer(service).oneshot(post(body)).await;
    replays.lock().unwrap().clone()
}

#[tokio::test]
async fn pending_body_polled_twice_does_not_wake_itself() {
    let mut body = received(StreamBody::new(stream::pending::<Item>())).await;
    let mut frame = tokio_test::task::spawn(async move { body.frame().await.is_some() });
    for _ in 0..2 {
        assert!(frame.poll().is_pending());
        assert!(!frame.is_woken(), "causes a busy loop");
    }
}

#[tokio::test]
async fn body_read_after_the_response_is_not_recorded() {
    let mut body = received(StreamBody::new(stream::iter((0..60).map(|_| data(&[7; 1024]))))).await;
    let allocated = allocation_counter::measure(|| {
        for _ in 0..60 {
            body.frame().now_or_never().unwrap().unwrap().unwrap();
        }
    });
    assert!(allocated.bytes_current < 1024, "{} bytes", allocated.bytes_current);
}

#[tokio::test]
async fn body_that_panicked_is_not_replayed() {
    let polls = AtomicUsize::new(0);
    let body = StreamBody::new(stream::poll_fn(move |_| {
        Poll::Ready(match polls.fetch_add(1, SeqCst) {
            0 => Some(data(b"one ")),
            1 => panic!("the frame `two` is lost"),
            2 => Some(data(b"three")),
            _ => None,
        })
    }));
    let replays = replayed(body, |mut body| async move {
        body.frame().await.unwrap().unwrap();
        assert!(AssertUnwindSafe(body.frame()).catch_unwind().await.is_err());
    });
    assert!(replays.await.is_empty());
}

#[tokio::test]
async fn half_full_buffer_has_space_for_trailers() {
    let trailers = HeaderMap::from_iter([("a".parse().unwrap(), "b".parse().unwrap())]);
    let frames = (0..33).map(|_| data(&[7; 1024])).chain([Ok(Frame::trailers(trailers))]);
    let body = StreamBody::new(stream::iter(frames.collect::<Vec<_>>()));
    let replays = replayed(body, |mut body| async move {
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
    });
    assert_eq!(replays.await, [vec![7; 33 << 10]]);
}
