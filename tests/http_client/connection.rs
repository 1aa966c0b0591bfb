//! How a connection fails, and when it is reused.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;
use tower_auth_refresh::{
    arthur::{ArthurApi, BaseUrl},
    http_client::{HttpClient, NewConnection},
};

use crate::support::*;

/// Reads one request, with or without a body.
async fn read_any_request(stream: &mut TcpStream) {
    let mut buffer = [0; 16 << 10];
    let _ = stream.read(&mut buffer).await;
}

/// Starts a server that decides to close each connection after its first response, just when the next request arrives.
/// Returns its URL and the count of its connections.
async fn closing_server(response: &'static str) -> (String, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let (addr, _task) = listen(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            read_any_request(&mut stream).await;
            stream.write_all(response.as_bytes()).await.unwrap();
            read_any_request(&mut stream).await;
        }
    })
    .await;
    (format!("http://{addr}"), connections)
}

async fn get(
    client: &HttpClient,
    request: http::request::Builder,
) -> Result<Bytes, tower::BoxError> {
    let response = client.clone().oneshot(request.body(Full::default())?).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn login_does_not_reuse_connection_that_server_closes() {
    let response =
        "HTTP/1.1 200 OK\r\nSet-Cookie: Authorization=a.b.c\r\nContent-Length: 2\r\n\r\n{}";
    let (url, connections) = closing_server(response).await;
    let api = api(&url);
    for _ in 0..3 {
        log_in(api.clone()).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[cfg(feature = "oauth2")]
#[tokio::test]
async fn refresh_grant_does_not_reuse_connection_that_server_closes() {
    use tower_auth_refresh::{
        LoginReason, LoginRequest,
        oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken},
    };

    let response = "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n\
                    {\"access_token\":\"a\",\"token_type\":\"Bearer\",\"refresh_token\":\"next\"}";
    let (url, connections) = closing_server(response).await;
    let server = AuthorizationServer::token_endpoint(&url).unwrap();
    let mut login = OAuth2Login::new(
        client(),
        server,
        ClientAuthentication::public("client"),
        Grant::refresh_token(RefreshToken::new("first")),
    );
    for _ in 0..3 {
        login.ready().await.unwrap();
        tower::Service::call(&mut login, LoginRequest::new(LoginReason::First)).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn other_requests_reuse_connections() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let (addr, _task) = listen(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            loop {
                read_any_request(&mut stream).await;
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err()
                {
                    return;
                }
            }
        }
    })
    .await;
    let url = format!("http://{addr}");
    let client = client();
    for _ in 0..3 {
        get(&client, Request::get(&url)).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    get(&client, Request::get(&url).extension(NewConnection)).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn connection_is_not_reused_after_idle_timeout() {
    let (url, connections) = closing_server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let client = HttpClient::builder().pool_idle_timeout(Duration::from_millis(1)).build().unwrap();
    for _ in 0..2 {
        get(&client, Request::get(&url)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn https_to_http_port_is_protocol_error() {
    let server = Script::start(accept_login).await;
    let url = server.url().replace("http:", "https:");
    let error = failed_login(api(&url)).await;
    let cause = transport_error(&error);
    assert!(cause.is_protocol(), "{error}");
    assert!(!cause.is_tls() && !cause.is_connect());
    assert!(error.to_string().contains("does not use TLS"), "{error}");
}

#[tokio::test]
async fn http_to_tls_port_is_protocol_error() {
    let (_, acceptor) = self_signed("localhost");
    let (addr, _task) = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // The stream is kept, so that the alert is not lost to a reset.
            let refused = acceptor.accept(stream).into_fallible().await;
            assert!(refused.is_err());
            pending::<()>().await;
        }
    })
    .await;
    let error = failed_login(api(&format!("http://{addr}"))).await;
    assert!(transport_error(&error).is_protocol(), "{error}");
    assert!(error.to_string().contains("not HTTP"), "{error}");
}

#[tokio::test]
async fn refused_connection_is_connect_error() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let error = failed_login(api(&format!("http://127.0.0.1:{port}"))).await;
    let cause = transport_error(&error);
    assert!(cause.is_connect(), "{error}");
    assert!(!cause.is_dns() && !cause.is_tls());
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn unresolved_name_is_dns_error() {
    // Too long for a label, so no resolver is queried.
    let url = format!("http://{}.invalid", "a".repeat(64));
    let base_url = BaseUrl::danger_parse_plaintext(&url).unwrap();
    let error = failed_login(ArthurApi::new(base_url, client())).await;
    let cause = transport_error(&error);
    assert!(cause.is_dns() && cause.is_connect(), "{error}");
    assert!(error.to_string().contains("DNS"), "{error}");
}

#[tokio::test]
async fn reset_connection_is_closed_error() {
    let error = failed_login_at(|stream| async move { stream.set_zero_linger().unwrap() }).await;
    let cause = transport_error(&error);
    assert!(cause.is_closed(), "{error}");
    assert!(!cause.is_connect());
    assert!(error.to_string().contains("reset"), "{error}");
}

#[tokio::test]
async fn early_close_is_closed_error() {
    for part in [
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\nSet-Cookie: Authorization=a.b.c\r\nContent-Length: 100\r\n\r\nten bytes.",
    ] {
        let error = failed_login_at(move |mut stream| async move {
            stream.write_all(part.as_bytes()).await.unwrap();
        })
        .await;
        assert!(transport_error(&error).is_closed(), "{part:?}: {error}");
        assert!(error.to_string().contains("connection closed"), "{error}");
    }
}

#[tokio::test]
async fn secret_response_headers_are_sensitive() {
    let server = Script::start(accept_login).await;
    let request = Request::get(server.url()).body(Full::default()).unwrap();
    let response = client().oneshot(request).await.unwrap();
    assert!(response.headers()["set-cookie"].is_sensitive());
}

#[tokio::test]
async fn dropped_login_closes_its_connection() {
    let (closed, mut seen) = tokio::sync::mpsc::channel(1);
    let (addr, _task) = listen(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            closed.send("requested").await.unwrap();
            read_request(&mut stream).await;
            closed.send("closed").await.unwrap();
        }
    })
    .await;
    let login = tokio::spawn(log_in(api(&format!("http://{addr}"))));
    assert_eq!(seen.recv().await, Some("requested"));
    login.abort();
    assert_eq!(seen.recv().await, Some("closed"));
}

#[test]
fn client_outlives_runtime_of_first_login() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let (_, acceptor) = self_signed("localhost");
    let plain = servers.block_on(Script::start(accept_login));
    let tls = servers.block_on(Script::start_tls(acceptor, accept_login));
    for url in [plain.url(), tls.url()] {
        let api = api_with(HttpClient::builder().danger_accept_invalid_certs(true), &url);
        for _ in 0..3 {
            let short = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            short.block_on(log_in(api.clone())).unwrap();
        }
    }
}
