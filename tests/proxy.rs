//! The example proxy: what it sends on, and what it answers where nothing can be sent on.
#![cfg(feature = "replay-buffered")]
#![allow(dead_code, reason = "the example uses more of it")]

use std::{
    convert::Infallible,
    future::{pending, ready},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{client::legacy::Client, rt::TokioExecutor, rt::TokioIo};
use tokio::net::TcpListener;
use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginError, test_util::Logins};

#[path = "../examples/reverse_proxy/proxy.rs"]
mod proxy;

use proxy::Proxy;

/// Answers with the request's first line and headers.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tell = service_fn(|request: Request<Incoming>| {
        let mut told = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            told += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let response = Response::builder().header("keep-alive", "timeout=5").header("x-own", "kept");
        ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::from(told)).unwrap()))
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), tell));
        }
    });
    addr
}

/// Sends a request through a proxy before the upstream.
async fn through(
    upstream: SocketAddr,
    refresher: AuthRefresher,
    request: http::request::Builder,
    path: &str,
) -> Response<String> {
    let upstream: Uri = format!("http://{upstream}").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(Proxy::new(upstream, refresher).unwrap().serve(listener, pending::<()>()));
    let request = request.uri(format!("http://{addr}{path}")).body(Empty::<Bytes>::new()).unwrap();
    let (head, body) = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
}

fn refresher(answer: impl Fn() -> Result<AccessToken, BoxError> + Send + 'static) -> AuthRefresher {
    Logins::default().refresher(move |_| ready(answer()))
}

#[tokio::test]
async fn a_request_is_sent_on_with_the_token_and_without_what_is_between_neighbours() {
    let upstream = upstream().await;
    let request = Request::builder()
        .header("authorization", "Basic of-the-callers-own")
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("te", "trailers")
        .header("x-other", "2");
    let response = through(upstream, refresher(|| Ok(AccessToken::bearer("abc")?)), request, "/things/1?of=mine").await;
    let mut lines: Vec<_> = response.body().lines().map(str::to_owned).collect();
    lines.sort();
    let host = format!("host: {upstream}");
    assert_eq!(
        lines,
        ["GET /things/1?of=mine", "authorization: Bearer abc", &host, "via: 1.1 reverse-proxy", "x-other: 2"]
    );
    assert_eq!(response.headers()["x-own"], "kept");
    assert!(!response.headers().contains_key("keep-alive"));
}

#[tokio::test(start_paused = true)]
async fn no_token_in_time_is_a_gateway_timeout() {
    let refresher = Logins::default().builder(|_| pending()).wait_timeout(Duration::from_secs(1)).build().unwrap();
    let response = through(upstream().await, refresher, Request::builder(), "/").await;
    assert_eq!((response.status(), &**response.body()), (StatusCode::GATEWAY_TIMEOUT, "no token in time\n"));
}

#[tokio::test]
async fn a_failed_login_is_a_bad_gateway_and_its_cause_is_not_told_outside() {
    let refresher = refresher(|| Err(LoginError::permanent("the password of jo is wrong").into()));
    let response = through(upstream().await, refresher, Request::builder(), "/").await;
    assert_eq!((response.status(), &**response.body()), (StatusCode::BAD_GATEWAY, "no token\n"));
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_a_bad_gateway() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let response = through(gone, refresher(|| Ok(AccessToken::bearer("abc")?)), Request::builder(), "/").await;
    assert_eq!((response.status(), &**response.body()), (StatusCode::BAD_GATEWAY, "no answer from the upstream\n"));
}
