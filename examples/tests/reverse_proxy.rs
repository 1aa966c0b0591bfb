//! Tests of the reverse proxy: the requests that it forwards, and its responses to other requests.
#![allow(dead_code, reason = "only the example uses the signal")]

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

#[path = "../reverse_proxy/proxy.rs"]
mod proxy;

use proxy::Proxy;

/// Starts a server that responds with the request's first line and headers. Returns its address.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = service_fn(|request: Request<Incoming>| {
        let mut lines = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            lines += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let response =
            Response::builder().header("keep-alive", "timeout=5").header("x-custom", "1");
        ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::from(lines)).unwrap()))
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    addr
}

/// Sends a request through a proxy.
async fn through(
    upstream: SocketAddr,
    refresher: AuthRefresher,
    request: http::request::Builder,
    path: &str,
) -> Response<String> {
    let upstream: Uri = format!("http://{upstream}").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(
        Proxy::new(upstream, refresher, tls([])).unwrap().serve(listener, pending::<()>()),
    );
    let request = request.uri(format!("http://{addr}{path}")).body(Empty::<Bytes>::new()).unwrap();
    let (head, body) = Client::builder(TokioExecutor::new())
        .build_http()
        .request(request)
        .await
        .unwrap()
        .into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
}

fn tls(trusted: impl IntoIterator<Item = CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    config.with_root_certificates(roots).with_no_client_auth()
}

fn refresher(login: impl Fn() -> Result<AccessToken, BoxError> + Send + 'static) -> AuthRefresher {
    MockLogin::default().refresher(move |_| ready(login()))
}

#[tokio::test]
async fn forwarded_request_has_token_and_no_hop_by_hop_headers() {
    let upstream = upstream().await;
    let request = Request::builder()
        .header("authorization", "Basic of-the-client")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("te", "trailers")
        .header("x-other", "2");
    let response = through(
        upstream,
        refresher(|| Ok(AccessToken::bearer("abc")?)),
        request,
        "/items/1?owner=me",
    )
    .await;
    let mut lines: Vec<_> = response.body().lines().map(str::to_owned).collect();
    lines.sort();
    let host = format!("host: {upstream}");
    assert_eq!(
        lines,
        [
            "GET /items/1?owner=me",
            "authorization: Bearer abc",
            &host,
            "via: 1.1 reverse-proxy",
            "x-other: 2"
        ]
    );
    assert_eq!(response.headers()["x-custom"], "1");
    assert!(!response.headers().contains_key("keep-alive"));
}

#[tokio::test(start_paused = true)]
async fn token_timeout_is_gateway_timeout() {
    let refresher = MockLogin::default()
        .builder(|_| pending())
        .wait_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let response = through(upstream().await, refresher, Request::builder(), "/").await;
    assert_eq!(
        (response.status(), &**response.body()),
        (StatusCode::GATEWAY_TIMEOUT, "timed out waiting for a token\n")
    );
}

#[tokio::test]
async fn failed_login_is_bad_gateway_without_cause() {
    let refresher = refresher(|| Err(LoginError::permanent("password of jo is wrong").into()));
    let response = through(upstream().await, refresher, Request::builder(), "/").await;
    assert_eq!(
        (response.status(), &**response.body()),
        (StatusCode::BAD_GATEWAY, "login failed\n")
    );
}

#[tokio::test]
async fn unavailable_upstream_is_bad_gateway() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let response =
        through(closed, refresher(|| Ok(AccessToken::bearer("abc")?)), Request::builder(), "/")
            .await;
    assert_eq!(
        (response.status(), &**response.body()),
        (StatusCode::BAD_GATEWAY, "upstream is unavailable\n")
    );
}

#[test]
fn upstream_with_plaintext_or_path_is_rejected() {
    let refresher = refresher(|| Ok(AccessToken::bearer("abc")?));
    let upstream =
        |uri: &str| Proxy::new(uri.parse().unwrap(), refresher.clone(), tls([])).map(drop);
    for uri in [
        "http://localhost:3000",
        "http://127.0.0.1/",
        "http://[::1]:3000",
        "https://api.example.com",
    ] {
        assert_eq!(upstream(uri), Ok(()), "{uri}");
    }
    for uri in [
        "http://10.0.0.1:3000",
        "http://api.example.com",
        "https://api.example.com/v1",
        "https://a.example?b",
        "/x",
    ] {
        assert!(upstream(uri).is_err(), "{uri}");
    }
}

#[tokio::test]
async fn upstream_can_use_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = certified.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let service = service_fn(|request: Request<Incoming>| {
            let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(authorization))))
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap();
    });
    let refresher = refresher(|| Ok(AccessToken::bearer("abc")?));
    let proxy =
        Proxy::new(upstream.parse().unwrap(), refresher, tls([certified.cert.der().clone()]))
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(proxy.serve(listener, pending::<()>()));
    assert!(
        exchange(addr, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .ends_with("Bearer abc")
    );
}

/// Sends `request` and returns the response.
async fn exchange(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// Starts a proxy. Returns its address, and the sender that stops it.
async fn proxy() -> (SocketAddr, oneshot::Sender<()>) {
    let upstream = format!("http://{}", upstream().await).parse().unwrap();
    let refresher = refresher(|| Ok(AccessToken::bearer("abc")?));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel());
    tokio::spawn(Proxy::new(upstream, refresher, tls([])).unwrap().serve(listener, stopped));
    (addr, stop)
}

#[tokio::test]
async fn connect_and_trace_are_rejected() {
    let (addr, _stop) = proxy().await;
    let response = exchange(addr, "TRACE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 405 ") && !response.contains("abc"), "{response}");
    let response = exchange(
        addr,
        "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 405 ") && !response.contains("abc"), "{response}");
}

#[tokio::test]
async fn via_has_received_version_and_cookies_are_joined() {
    let (addr, _stop) = proxy().await;
    let response = exchange(addr, "GET / HTTP/1.0\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n").await;
    assert!(
        response.contains("via: 1.0 reverse-proxy\n") && response.contains("cookie: a=1; b=2\n"),
        "{response}"
    );
}

#[tokio::test]
async fn stopped_proxy_completes_open_requests() {
    let (addr, stop) = proxy().await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /open HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    // The response to a second request shows that the proxy has read the first.
    exchange(addr, "GET / HTTP/1.0\r\n\r\n").await;
    stop.send(()).unwrap();
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"\r\n").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.contains("GET /open"), "{response}");
}
