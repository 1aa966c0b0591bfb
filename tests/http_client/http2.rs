//! Failures of HTTP/2 connections and streams.

use std::{
    error::Error,
    iter::successors,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tower::{BoxError, ServiceExt};
use tower_auth_refresh::{
    AuthRefresher,
    arthur::{ArthurError, ArthurLogin, UserLogin},
    http_client::{HttpClient, HttpClientBuilder},
    transport::TransportConfig,
};

use crate::{relay::Relay, support::*};

/// A guard against a test that hangs. No assertion depends on it.
const GUARD: Duration = Duration::from_secs(60);

fn trusting(certificate: CertificateDer<'static>) -> HttpClientBuilder {
    HttpClient::builder().add_root_certificate(certificate)
}

/// Starts an HTTP/2 server behind a relay.
async fn relayed(
    script: impl Fn(&Seen) -> http::Response<Body> + Clone + Send + Sync + 'static,
) -> (HttpClientBuilder, Script, Relay) {
    let (certificate, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, script).await;
    let relay = Relay::start(server.addr).await;
    (trusting(certificate), server, relay)
}

#[tokio::test]
async fn login_leaves_dead_connection() {
    let (client, server, relay) = relayed(accept_login).await;
    let api =
        api_with(client, &relay.url()).transport_config(TransportConfig::new().timeout(GUARD));
    for logins in 1..4 {
        log_in(api.clone()).await.unwrap();
        assert_eq!(server.seen()[logins - 1].version, Version::HTTP_2);
        relay.kill(0);
    }
}

#[tokio::test]
async fn login_after_timeout_succeeds_on_new_connection() {
    let (client, _server, relay) = relayed(accept_login).await;
    let api = api_with(client, &relay.url());
    relay.kill(1);
    let error = failed_login(
        api.clone().transport_config(TransportConfig::new().timeout(Duration::from_millis(200))),
    )
    .await;
    assert!(transport_error(&error).is_timeout(), "{error}");
    log_in(api.transport_config(TransportConfig::new().timeout(GUARD))).await.unwrap();
    assert_eq!(relay.connections(), 2);
}

#[tokio::test]
async fn refresher_heals_after_one_timeout() {
    let logins = Arc::new(AtomicUsize::new(0));
    let (client, _server, relay) = relayed(move |_| {
        let login = logins.fetch_add(1, Ordering::SeqCst);
        cookies(&[&format!("Authorization=token-{login}")])
    })
    .await;
    let api = api_with(client, &relay.url())
        .transport_config(TransportConfig::new().timeout(Duration::from_millis(500)));
    let login = ArthurLogin::new(UserLogin::new(api), credentials());
    let builder =
        AuthRefresher::builder(login).backoff(Duration::from_millis(1), Duration::from_millis(1));
    let refresher = builder.build().unwrap();
    // The machine can be so slow that a login on a good connection times out too.
    let log_in = async || {
        while refresher.refresh().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(GUARD, log_in()).await.unwrap();
    relay.kill(1);
    refresher.refresh().await.unwrap_err();
    tokio::time::timeout(GUARD, log_in()).await.unwrap();
}

#[tokio::test]
async fn dead_connection_is_timeout_error_by_pings() {
    // The relay swallows the response.
    let relay = Arc::new(OnceLock::<Relay>::new());
    let shared = Arc::clone(&relay);
    let (client, _server, started) = relayed(move |request| {
        shared.get().unwrap().kill(0);
        accept_login(request)
    })
    .await;
    let url = started.url();
    assert!(relay.set(started).is_ok());
    let client = client
        .http2_keep_alive_interval(Duration::from_millis(50))
        .http2_keep_alive_timeout(Duration::from_millis(50));
    let error = failed_login(
        api_with(client, &url).transport_config(TransportConfig::new().timeout(GUARD)),
    )
    .await;
    let cause = transport_error(&error);
    assert!(cause.is_timeout() && !cause.is_closed() && !cause.is_protocol(), "{error}");
    assert!(
        error.to_string().contains("connection timed out"),
        "not the login's own timeout: {error}"
    );
}

#[tokio::test]
async fn request_after_failed_ping_succeeds_on_new_connection() {
    let (client, server, relay) = relayed(|_| status(200, "")).await;
    let client = client
        .http2_keep_alive_interval(Duration::from_millis(50))
        .http2_keep_alive_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let get = || async {
        let request = Request::get(relay.url()).body(Full::<Bytes>::default()).unwrap();
        let response =
            tokio::time::timeout(GUARD, client.clone().oneshot(request)).await.unwrap()?;
        Ok::<StatusCode, BoxError>(response.status())
    };
    // On a slow machine, a ping on a good connection can time out too.
    let succeed = || async {
        while get().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    succeed().await;
    relay.kill(0);
    get().await.unwrap_err();
    succeed().await;
    assert!(server.seen().iter().all(|request| request.version == Version::HTTP_2));
}

/// Reads HTTP/2 frames up to that with the headers of a request (RFC 9113, section 6.2).
async fn read_headers(stream: &mut TlsStream<TcpStream>) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == 1 {
            return;
        }
    }
}

/// Returns the error of a login whose HTTP/2 server sends `frames` after its SETTINGS.
async fn failed_login_with_frames(frames: &'static [u8]) -> ArthurError {
    let (certificate, acceptor) = self_signed("localhost");
    let (addr, _task) = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            stream.flush().await.unwrap();
            read_headers(&mut stream).await;
            stream.write_all(frames).await.unwrap();
            stream.flush().await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    failed_login(api_with(trusting(certificate), &format!("https://localhost:{}", addr.port())))
        .await
}

#[tokio::test]
async fn reset_stream_is_closed_error() {
    // RST_STREAM of stream 1 with INTERNAL_ERROR.
    let error = failed_login_with_frames(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2]).await;
    let cause = transport_error(&error);
    assert!(cause.is_closed() && !cause.is_timeout() && !cause.is_protocol(), "{error}");
    assert!(error.to_string().contains("stream reset by the server"), "{error}");
}

#[tokio::test]
async fn go_away_is_closed_error() {
    // GOAWAY that processed no stream, with NO_ERROR.
    let error =
        failed_login_with_frames(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await;
    let cause = transport_error(&error);
    assert!(cause.is_closed() && !cause.is_timeout() && !cause.is_protocol(), "{error}");
    assert!(error.to_string().contains("GOAWAY"), "{error}");
}

#[tokio::test]
async fn invalid_frame_is_protocol_error() {
    // A PING must have 8 bytes.
    let error = failed_login_with_frames(&[0, 0, 1, 6, 0, 0, 0, 0, 0, 0]).await;
    let cause = transport_error(&error);
    assert!(cause.is_protocol() && !cause.is_closed() && !cause.is_timeout(), "{error}");
    assert!(error.to_string().contains("not valid HTTP/2"), "{error}");
}

/// The texts of an error and of its causes.
fn texts<'a>(error: &'a (dyn Error + 'static)) -> String {
    successors(Some(error), |&error: &&'a (dyn Error + 'static)| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn go_away_is_closed_error_without_server_data() {
    const TOKEN: &str = "t0ken-of-the-test";
    let (certificate, acceptor) = self_signed("localhost");
    let data = format!(
        "data of the server: {PASSWORD} {} {TOKEN}",
        serde_json::to_string(PASSWORD).unwrap()
    );
    let server = GoAway::start(acceptor, &data).await;
    let api = api_with(trusting(certificate), &server.url());
    let error = failed_login(api.clone()).await;
    assert!(error.to_string().contains("excessive load"), "{error}");
    assert!(transport_error(&error).is_closed(), "{error}");
    assert!(!texts(&error).contains("data of the server"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(!error.to_string().contains("fish"), "{error}");

    let token = tower_auth_refresh::AccessToken::raw(TOKEN).unwrap();
    let error = tower_auth_refresh::arthur::GetAuthInfo::new(api).oneshot(token).await.unwrap_err();
    assert!(error.to_string().contains("excessive load"), "{error}");
    assert_hidden(&error, TOKEN);
}
