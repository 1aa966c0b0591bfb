//! The example proxy: what it sends on, and what it answers where nothing can be sent on.
#![cfg(feature = "replay-buffered")]
#![allow(dead_code, reason = "the example uses more of it")]

use std::{
    convert::Infallible,
    future::{pending, ready},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{client::legacy::Client, rt::TokioExecutor, rt::TokioIo};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginError, test_util::MockLogin};

#[path = "../../examples/reverse_proxy/proxy.rs"]
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
    tokio::spawn(Proxy::new(upstream, refresher, tls([])).unwrap().serve(listener, pending::<()>()));
    let request = request.uri(format!("http://{addr}{path}")).body(Empty::<Bytes>::new()).unwrap();
    let (head, body) = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
}

fn tls(trusted: impl IntoIterator<Item = CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    config.with_root_certificates(roots).with_no_client_auth()
}

fn refresher(answer: impl Fn() -> Result<AccessToken, BoxError> + Send + 'static) -> AuthRefresher {
    MockLogin::default().refresher(move |_| ready(answer()))
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
    let refresher = MockLogin::default().builder(|_| pending()).wait_timeout(Duration::from_secs(1)).build().unwrap();
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

#[test]
fn a_token_is_not_to_go_to_a_strangers_plain_text_nor_a_path_be_dropped() {
    let refresher = refresher(|| Ok(AccessToken::bearer("abc")?));
    let upstream = |uri: &str| Proxy::new(uri.parse().unwrap(), refresher.clone(), tls([])).map(drop);
    for uri in ["http://localhost:3000", "http://127.0.0.1/", "http://[::1]:3000", "https://api.example.com"] {
        assert_eq!(upstream(uri), Ok(()), "{uri}");
    }
    for uri in
        ["http://10.0.0.1:3000", "http://api.example.com", "https://api.example.com/v1", "https://a.example?b", "/x"]
    {
        assert!(upstream(uri).is_err(), "{uri}");
    }
}

#[tokio::test]
async fn an_upstream_may_speak_tls() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = own.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let tell = service_fn(|request: Request<Incoming>| {
            let told = request.headers()["authorization"].to_str().unwrap().to_owned();
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(told))))
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), tell).await.unwrap();
    });
    let refresher = refresher(|| Ok(AccessToken::bearer("abc")?));
    let proxy = Proxy::new(upstream.parse().unwrap(), refresher, tls([own.cert.der().clone()])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(proxy.serve(listener, pending::<()>()));
    assert!(said(addr, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ends_with("Bearer abc"));
}

/// What comes back when this is sent.
async fn said(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A proxy before the upstream that tells, its address, and what stops it.
async fn proxy() -> (SocketAddr, oneshot::Sender<()>) {
    let upstream = format!("http://{}", upstream().await).parse().unwrap();
    let refresher = refresher(|| Ok(AccessToken::bearer("abc")?));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel());
    tokio::spawn(Proxy::new(upstream, refresher, tls([])).unwrap().serve(listener, stopped));
    (addr, stop)
}

#[tokio::test]
async fn no_tunnel_is_made_with_the_token_and_no_trace_sends_it_back() {
    let (addr, _stop) = proxy().await;
    let answer = said(addr, "TRACE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && !answer.contains("abc"), "{answer}");
    let answer =
        said(addr, "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && !answer.contains("abc"), "{answer}");
}

#[tokio::test]
async fn an_old_version_is_told_in_via_and_cookies_are_one_line() {
    let (addr, _stop) = proxy().await;
    let answer = said(addr, "GET / HTTP/1.0\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n").await;
    assert!(answer.contains("via: 1.0 reverse-proxy\n") && answer.contains("cookie: a=1; b=2\n"), "{answer}");
}

#[tokio::test]
async fn a_proxy_that_ends_takes_no_more_and_sends_what_is_on_its_way() {
    let (addr, stop) = proxy().await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /begun HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    // Until it has been read, which the answer to another on the same listener says.
    said(addr, "GET / HTTP/1.0\r\n\r\n").await;
    stop.send(()).unwrap();
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("GET /begun"), "{answer}");
}
