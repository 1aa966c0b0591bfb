//! The replay policies for bodies of other crates: bodies with a `try_clone`, and clients that accept one body type.
#![cfg(feature = "replay-buffered")]

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AuthRefreshLayer, BufferedBody, ReplayBuffered, ReplayPolicy, ReplayWith, login_fn,
};

use crate::support::{HOUR, MockLogin, token};

/// A body as octocrab has it: clones share one stream, and `try_clone` makes an independent copy.
#[derive(Clone)]
struct SharedBody {
    stream: Arc<Mutex<UnsyncBoxBody<Bytes, BoxError>>>,
    bytes: Option<Bytes>,
}

impl SharedBody {
    fn from_bytes(bytes: &'static str) -> Self {
        let stream = Full::from(bytes).map_err(BoxError::from).boxed_unsync();
        Self { stream: Arc::new(Mutex::new(stream)), bytes: Some(bytes.into()) }
    }

    fn streaming(text: &'static str) -> Self {
        let frames = stream::iter([Ok(Frame::data(text.into()))]);
        Self { stream: Arc::new(Mutex::new(StreamBody::new(frames).boxed_unsync())), bytes: None }
    }

    fn try_clone(&self) -> Option<Self> {
        let bytes = self.bytes.clone()?;
        let stream = Full::from(bytes.clone()).map_err(BoxError::from).boxed_unsync();
        Some(Self { stream: Arc::new(Mutex::new(stream)), bytes: Some(bytes) })
    }
}

impl Body for SharedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut *self.stream.lock().unwrap()).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.lock().unwrap().size_hint()
    }
}

/// The token and the body of each request.
type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// A service that reads the body, then accepts the second token only.
fn server<B>(
    requests: &Requests,
) -> impl Service<Request<B>, Response = Response<()>, Error = Infallible, Future: Future + Send>
+ Clone
+ use<B>
where
    B: Body<Data: Send, Error: Send> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    let requests = requests.clone();
    service_fn(move |request: Request<B>| {
        let requests = requests.clone();
        async move {
            let token = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = Response::new(());
            if token != "Bearer t2" {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            requests.lock().unwrap().push((token, String::from_utf8(body.to_vec()).unwrap()));
            Ok(response)
        }
    })
}

fn layer() -> AuthRefreshLayer {
    let builder = MockLogin::default().builder(|n| async move { token(n, HOUR) });
    AuthRefreshLayer::new(builder.min_rejection_age(Duration::ZERO).build().unwrap())
}

/// Sends a body through a layer. Returns the status, and the tokens and bodies that the server received.
async fn send<P, B>(layer: AuthRefreshLayer<P>, body: B) -> (u16, Vec<(String, String)>)
where
    P: ReplayPolicy<B, Body: Body<Data: Send, Error: Send + std::fmt::Debug> + Send + 'static>
        + Clone,
{
    let requests = Requests::default();
    let client = layer.layer(server::<P::Body>(&requests));
    let request = Request::post("https://api.example.com/").body(body).unwrap();
    let status = client.oneshot(request).await.unwrap().status().as_u16();
    let requests = requests.lock().unwrap().clone();
    (status, requests)
}

fn sent(token: &str, body: &str) -> (String, String) {
    (format!("Bearer {token}"), body.to_owned())
}

#[tokio::test]
async fn replay_with_sends_the_whole_copy() {
    let body = || SharedBody::from_bytes("abc");
    let twice = (200, vec![sent("t1", "abc"), sent("t2", "abc")]);
    assert_eq!(send(layer().replay(ReplayWith(SharedBody::try_clone)), body()).await, twice);
    let by_closure = ReplayWith(|body: &SharedBody| body.try_clone());
    assert_eq!(send(layer().replay(by_closure), body()).await, twice);
}

#[tokio::test]
async fn replay_with_sends_nothing_for_a_body_without_a_copy() {
    let layer = layer().replay(ReplayWith(SharedBody::try_clone));
    assert_eq!(send(layer, SharedBody::streaming("abc")).await, (401, vec![sent("t1", "abc")]));
}

#[tokio::test]
async fn buffered_replay_works_for_clones_that_share_a_stream() {
    for body in [SharedBody::from_bytes("abc"), SharedBody::streaming("abc")] {
        let result = send(layer().replay(ReplayBuffered::new()), body).await;
        assert_eq!(result, (200, vec![sent("t1", "abc"), sent("t2", "abc")]));
    }
}

type Boxed = UnsyncBoxBody<Bytes, BoxError>;

#[tokio::test]
async fn mapped_body_is_replayed_in_its_own_type() {
    let twice = (200, vec![sent("t1", "abc"), sent("t2", "abc")]);
    let body = || SharedBody::streaming("abc").boxed_unsync();
    let requests = Requests::default();
    // The body's type is inferred from the inner service and the request.
    let client = layer()
        .replay(ReplayBuffered::new().map_body(Boxed::new))
        .layer(server::<Boxed>(&requests));
    let request = Request::post("https://api.example.com/").body(body()).unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(*requests.lock().unwrap(), twice.1);

    let by_closure =
        ReplayBuffered::new().limit(3 << 10).map_body(|body| Boxed::new(Limited::new(body, 1024)));
    assert_eq!(send(layer().replay(by_closure), body()).await, twice);
    let by_method = ReplayBuffered::new().map_body(|body: BufferedBody<Boxed>| body.boxed_unsync());
    assert_eq!(send(layer().replay(by_method), body()).await, twice);
}

#[tokio::test]
async fn mapped_body_above_the_limit_is_not_replayed() {
    let layer = layer().replay(ReplayBuffered::new().limit(2).map_body(Boxed::new));
    let result = send(layer, SharedBody::streaming("abc").boxed_unsync()).await;
    assert_eq!(result, (401, vec![sent("t1", "abc")]));
}

#[tokio::test]
async fn request_without_a_token_has_the_mapped_body() {
    let refresher =
        tower_auth_refresh::AuthRefresher::builder(login_fn(|_| async { Err("down".into()) }))
            .no_token_policy(tower_auth_refresh::NoTokenPolicy::SendUnauthenticated)
            .build()
            .unwrap();
    let inner = service_fn(|request: Request<Boxed>| async move {
        let has_token = request.headers().contains_key(AUTHORIZATION);
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(Response::new((has_token, body)))
    });
    let client = AuthRefreshLayer::new(refresher)
        .replay(ReplayBuffered::new().map_body(Boxed::new))
        .layer(inner);
    let request = Request::post("https://api.example.com/")
        .body(SharedBody::from_bytes("abc").boxed_unsync())
        .unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().into_body(), (false, Bytes::from("abc")));
}

/// As in a stack over a client that accepts only its own type of body.
#[tokio::test]
async fn body_of_reqwest_is_replayed_in_its_own_type() {
    let layer = layer().replay(ReplayBuffered::new().map_body(reqwest::Body::wrap));
    let twice = (200, vec![sent("t1", "abc"), sent("t2", "abc")]);
    assert_eq!(send(layer, reqwest::Body::from("abc")).await, twice);
}
