//! Rejection and replay over real sockets, with hyper's client and server.
#![cfg(feature = "replay-buffered")]

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{HOUR, MockLogin, token};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{
    Request, Response, StatusCode,
    header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::TcpListener,
    sync::Barrier,
    task::{AbortHandle, JoinSet},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, DestinationPolicy, ReplayBuffered, ReplayClone,
};
use tower_http::follow_redirect::FollowRedirectLayer;

/// A server that rejects the given tokens and accepts all others. It echoes the body.
#[derive(Clone)]
struct Server {
    addr: SocketAddr,
    state: Arc<State>,
    _task: Arc<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct State {
    rejected: Mutex<HashSet<String>>,
    /// The token and the length of the body of each request.
    requests: Mutex<Vec<(Option<String>, usize)>>,
    connections: AtomicUsize,
    /// Holds back the responses to the first 50 requests until all have arrived.
    barrier: Option<Barrier>,
    /// Rejects a request before its body has been read.
    reject_early: bool,
    redirect: Mutex<Option<String>>,
}

impl Server {
    async fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, SeqCst);
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| respond(shared.clone(), request));
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { addr, state, _task: Arc::new(AbortOnDrop(task.abort_handle())) }
    }

    fn reject(&self, token: &str) {
        self.state.rejected.lock().unwrap().insert(token.to_owned());
    }

    fn tokens(&self) -> Vec<Option<String>> {
        self.state.requests.lock().unwrap().iter().map(|(token, _)| token.clone()).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    fn post<B>(&self, body: B) -> Request<B> {
        Request::post(self.url("/")).body(body).unwrap()
    }
}

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = request.headers().get(AUTHORIZATION);
    let token =
        header.map(|value| value.to_str().unwrap().trim_start_matches("Bearer ").to_owned());
    let rejected =
        token.as_ref().is_none_or(|token| state.rejected.lock().unwrap().contains(token));
    let body = if state.reject_early && rejected {
        Bytes::new()
    } else {
        request.into_body().collect().await.unwrap().to_bytes()
    };
    let count = {
        let mut requests = state.requests.lock().unwrap();
        requests.push((token, body.len()));
        requests.len()
    };
    if let Some(barrier) = &state.barrier
        && count <= 50
    {
        barrier.wait().await;
    }
    if let Some(target) = &*state.redirect.lock().unwrap() {
        let redirect =
            Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header(LOCATION, target);
        return Ok(redirect.body(Full::default()).unwrap());
    }
    if rejected {
        let rejection =
            Response::builder().status(StatusCode::UNAUTHORIZED).header(WWW_AUTHENTICATE, "Bearer");
        return Ok(rejection.body("not accepted".into()).unwrap());
    }
    Ok(Response::new(body.into()))
}

fn refresher(logins: &MockLogin) -> AuthRefresher {
    logins
        .builder(|n| async move { token(n, HOUR) })
        .min_rejection_age(Duration::ZERO)
        .build()
        .unwrap()
}

fn hyper<B>() -> Client<HttpConnector, B>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    Client::builder(TokioExecutor::new()).build_http()
}

async fn read(response: Response<Incoming>) -> (StatusCode, Bytes) {
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|n| (n * 7 % 251) as u8).collect()
}

#[tokio::test]
async fn rejected_request_is_replayed_byte_for_byte() {
    let server = Server::start(State::default()).await;
    server.reject("t1");
    let body = pattern(100_000);
    let client =
        AuthRefreshLayer::new(refresher(&MockLogin::default())).replay(ReplayClone).layer(hyper());
    let response = client.oneshot(server.post(Full::new(body.clone()))).await.unwrap();
    assert_eq!(read(response).await, (StatusCode::OK, body.clone()));
    let requests = server.state.requests.lock().unwrap().clone();
    assert_eq!(requests, [(Some("t1".into()), body.len()), (Some("t2".into()), body.len())]);
}

type Streaming = UnsyncBoxBody<Bytes, BoxError>;

fn streaming(bytes: &Bytes) -> Streaming {
    let chunks: Vec<_> =
        bytes.chunks(1000).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
    UnsyncBoxBody::new(StreamBody::new(stream::iter(chunks)))
}

#[tokio::test]
async fn streaming_body_is_replayed_from_buffer() {
    for reject_early in [false, true] {
        let server = Server::start(State { reject_early, ..State::default() }).await;
        server.reject("t1");
        let body = pattern(60_000);
        let client = AuthRefreshLayer::new(refresher(&MockLogin::default()))
            .replay(ReplayBuffered::new())
            .layer(hyper());
        let response = client.oneshot(server.post(streaming(&body))).await.unwrap();
        assert_eq!(read(response).await, (StatusCode::OK, body), "rejected early: {reject_early}");
        assert_eq!(server.tokens(), [Some("t1".into()), Some("t2".into())]);
    }
}

#[tokio::test]
async fn slow_upload_causes_few_polls() {
    let server = Server::start(State::default()).await;
    let polls = Arc::new(AtomicUsize::new(0));
    let count = polls.clone();
    let mut ticks = Box::pin(stream::iter(0..4).then(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x")))
    }));
    let body = StreamBody::new(stream::poll_fn(move |cx| {
        count.fetch_add(1, SeqCst);
        ticks.poll_next_unpin(cx)
    }));
    let client = AuthRefreshLayer::new(refresher(&MockLogin::default()))
        .replay(ReplayBuffered::new())
        .layer(hyper());
    let response = client.oneshot(server.post(body)).await.unwrap();
    assert_eq!(read(response).await, (StatusCode::OK, "xxxx".into()));
    let polls = polls.load(SeqCst);
    assert!(polls < 50, "{polls} polls for 4 frames");
}

#[tokio::test]
async fn streaming_body_above_buffer_limit_is_not_replayed() {
    let server = Server::start(State::default()).await;
    server.reject("t1");
    let body = pattern(60_000);
    let policy = ReplayBuffered::new().limit(10_000);
    let mut client =
        AuthRefreshLayer::new(refresher(&MockLogin::default())).replay(policy).layer(hyper());
    let response = client.ready().await.unwrap().call(server.post(streaming(&body))).await.unwrap();
    assert_eq!(read(response).await, (StatusCode::UNAUTHORIZED, "not accepted".into()));
    let response = client.ready().await.unwrap().call(server.post(streaming(&body))).await.unwrap();
    assert_eq!(read(response).await, (StatusCode::OK, body));
    assert_eq!(server.tokens(), [Some("t1".into()), Some("t2".into())]);
}

#[tokio::test]
async fn body_without_clone_works_without_replay() {
    let server = Server::start(State::default()).await;
    server.reject("t1");
    let mut client =
        AuthRefreshLayer::new(refresher(&MockLogin::default())).layer(hyper::<Streaming>());
    let response =
        client.ready().await.unwrap().call(server.post(streaming(&pattern(10)))).await.unwrap();
    assert_eq!(read(response).await.0, StatusCode::UNAUTHORIZED);
    let response =
        client.ready().await.unwrap().call(server.post(streaming(&pattern(10)))).await.unwrap();
    assert_eq!(read(response).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rejections_of_one_token_cause_one_login() {
    let server = Server::start(State { barrier: Some(Barrier::new(50)), ..State::default() }).await;
    server.reject("t1");
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    let client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(hyper());
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (client, request) = (client.clone(), server.post(Full::new(pattern(10))));
        calls.spawn(async move { read(client.oneshot(request).await.unwrap()).await });
    }
    for response in calls.join_all().await {
        assert_eq!(response, (StatusCode::OK, pattern(10)));
    }
    assert_eq!(logins.started(), 2, "one login at the start, and one for all rejections");
    assert_eq!(refresher.status().generation, 2);
    let tokens = server.tokens();
    assert_eq!(tokens.len(), 100);
    assert!(tokens[..50].iter().all(|token| token.as_deref() == Some("t1")));
    assert!(tokens[50..].iter().all(|token| token.as_deref() == Some("t2")));
}

#[tokio::test]
async fn connection_is_reused_after_rejection() {
    let server = Server::start(State::default()).await;
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(hyper());
    for n in 1..=4 {
        server.reject(&format!("t{n}"));
        let response =
            client.ready().await.unwrap().call(server.post(Full::new(pattern(10)))).await.unwrap();
        assert_eq!(read(response).await.0, StatusCode::OK);
    }
    assert_eq!(logins.started(), 5);
    assert_eq!(server.state.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn failed_login_returns_first_response_intact() {
    let server = Server::start(State::default()).await;
    server.reject("t1");
    let refresher = MockLogin::default()
        .builder(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } })
        .min_rejection_age(Duration::ZERO)
        .build()
        .unwrap();
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(hyper());
    let response = client.oneshot(server.post(Full::new(pattern(10)))).await.unwrap();
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    assert_eq!(read(response).await, (StatusCode::UNAUTHORIZED, "not accepted".into()));
}

#[tokio::test]
async fn redirect_sends_no_token_to_foreign_origin() {
    for (follow_above, name) in [(true, "above"), (false, "below")] {
        let (own, foreign) =
            (Server::start(State::default()).await, Server::start(State::default()).await);
        // Only the port differs, the host is the same.
        *own.state.redirect.lock().unwrap() = Some(foreign.url("/"));
        let layer = AuthRefreshLayer::new(refresher(&MockLogin::default()))
            .allow_origin(own.url(""))
            .unwrap()
            .destination_policy(DestinationPolicy::SendUnauthenticated);
        let request = Request::get(own.url("/")).body(Full::<Bytes>::default()).unwrap();
        let response = if follow_above {
            ServiceBuilder::new()
                .layer(FollowRedirectLayer::new())
                .layer(layer)
                .service(hyper())
                .oneshot(request)
                .await
        } else {
            ServiceBuilder::new()
                .layer(layer)
                .layer(FollowRedirectLayer::new())
                .service(hyper())
                .oneshot(request)
                .await
        };
        assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(own.tokens(), [Some("t1".into())], "{name}");
        assert_eq!(foreign.tokens(), [None], "{name}");
    }
}

#[tokio::test]
async fn redirect_to_foreign_origin_fails_by_default() {
    let (own, foreign) =
        (Server::start(State::default()).await, Server::start(State::default()).await);
    *own.state.redirect.lock().unwrap() = Some(foreign.url("/"));
    let layer =
        AuthRefreshLayer::new(refresher(&MockLogin::default())).allow_origin(own.url("")).unwrap();
    let request = Request::get(own.url("/")).body(Full::<Bytes>::default()).unwrap();
    let client =
        ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(layer).service(hyper());
    let error = client.oneshot(request).await.unwrap_err();
    assert_eq!(
        error.into_source().to_string(),
        "token must not be sent to an origin that is not allowed"
    );
    assert!(foreign.tokens().is_empty());
}

#[tokio::test]
async fn large_body_streams_through_buffer() {
    let server = Server::start(State::default()).await;
    let body = pattern(5_000_000);
    let chunks = stream::iter(body.chunks(10_000).map(Bytes::copy_from_slice).collect::<Vec<_>>());
    let streaming: Streaming =
        UnsyncBoxBody::new(StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))));
    let client = AuthRefreshLayer::new(refresher(&MockLogin::default()))
        .replay(ReplayBuffered::new())
        .layer(hyper());
    let response = client.oneshot(server.post(streaming)).await.unwrap();
    assert_eq!(read(response).await, (StatusCode::OK, body));
}
