//! An API and a token endpoint on one local server, which revokes all tokens at certain requests.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, LOCATION},
    request::Parts,
};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};
use tower::BoxError;
use tower_auth_refresh::{AccessToken, AuthRefresher, LoginRequest};

/// How long a token lives.
pub(crate) const LIFETIME: Duration = Duration::from_millis(1_500);

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    addr: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct State {
    /// All tokens issued before one of these requests are revoked at it.
    revocations: Vec<usize>,
    issued: AtomicUsize,
    revoked: AtomicUsize,
    calls: AtomicUsize,
    received: Mutex<Vec<Received>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with_revocations([]).await
    }

    /// Starts a server that revokes all tokens at each of these requests to the API.
    pub(crate) async fn with_revocations(revocations: impl IntoIterator<Item = usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state =
            Arc::new(State { revocations: revocations.into_iter().collect(), ..State::default() });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| respond(shared.clone(), request));
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { addr, state, task: task.abort_handle() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Returns a refresher whose login is a method call. Its rejections count at any age of a token.
    pub(crate) fn refresher(&self) -> AuthRefresher {
        let state = self.state.clone();
        let login = tower::service_fn(move |_: LoginRequest| {
            let token = state.issue();
            async move { Ok::<_, BoxError>(AccessToken::bearer(token)?.with_expires_in(LIFETIME)) }
        });
        AuthRefresher::builder(login).min_rejection_age(Duration::ZERO).build().unwrap()
    }

    /// Revokes all tokens.
    pub(crate) fn revoke(&self) {
        self.state.revoke();
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn issue(&self) -> String {
        format!("token-{}", self.issued.fetch_add(1, SeqCst) + 1)
    }

    fn revoke(&self) {
        self.revoked.store(self.issued.load(SeqCst), SeqCst);
    }

    fn accepts(&self, head: &Parts) -> bool {
        let token = head
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer token-"));
        token.is_some_and(|number| number.parse::<usize>().unwrap() > self.revoked.load(SeqCst))
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    state
        .received
        .lock()
        .unwrap()
        .push(Received { headers: head.headers.clone(), body: body.clone() });
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    let full = |body: Bytes| Full::new(body).boxed_unsync();
    Ok(match head.uri.path() {
        // `?` and the target.
        "/redirect" => response
            .status(StatusCode::TEMPORARY_REDIRECT)
            .header(LOCATION, head.uri.query().unwrap())
            .body(full(Bytes::new())),
        // Changes the method of a POST.
        "/found" => {
            response.status(StatusCode::FOUND).header(LOCATION, head.uri.query().unwrap()).body(full(Bytes::new()))
        }
        "/loop" => response.status(StatusCode::TEMPORARY_REDIRECT).header(LOCATION, "/loop").body(full(Bytes::new())),
        "/never" => std::future::pending().await,
        "/token" => {
            let token = json!({ "access_token": state.issue(), "token_type": "Bearer", "expires_in": 3600 });
            response.body(full(token.to_string().into()))
        }
        path => {
            if state.revocations.contains(&state.calls.fetch_add(1, SeqCst)) {
                state.revoke();
            }
            if !state.accepts(&head) {
                response.status(StatusCode::UNAUTHORIZED).body(full(Bytes::new()))
            } else if path == "/stream" {
                let frames = (0..10).map(|n| Ok(Frame::data(Bytes::from(format!("part {n};")))));
                response.body(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())).boxed_unsync())
            } else {
                response.body(full(body))
            }
        }
    }
    .unwrap())
}
