//! Discovery over sockets, at an issuer one of whose places is broken, with a token endpoint at another server.

use std::{future::Future, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower_auth_refresh::{
    http_client::HttpClient,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
    transport::TransportConfig,
};

use crate::support::{GRANTED, log_in, oauth2_error, transport_error};

/// What a server does with a connection.
#[derive(Clone)]
enum Reply {
    Respond(u16, String),
    Close,
    Hang,
}

/// Starts a server that replies to each path, one request a connection. Returns its URL.
async fn serve(reply: impl Fn(&str, &str) -> Reply + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let base = url.clone();
    tokio::spawn(async move {
        let mut hanging = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(path) = read_path(&mut stream).await else { continue };
            match reply(&base, &path) {
                Reply::Close => {}
                Reply::Hang => hanging.push(stream),
                Reply::Respond(status, body) => {
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                    );
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                }
            }
        }
    });
    url
}

async fn read_path(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8(head).ok()?.split(' ').nth(1)?.to_owned())
}

/// Against a test that hangs.
async fn within_a_minute<T>(test: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), test).await.unwrap()
}

fn login(issuer: &str) -> OAuth2Login<HttpClient> {
    let server = AuthorizationServer::discover(issuer).unwrap();
    let client = ClientAuthentication::client_secret_basic("orders", "swordfish");
    let http = HttpClient::builder().build().unwrap();
    OAuth2Login::new(http, server, client, Grant::client_credentials())
        .transport_config(TransportConfig::new().timeout(Duration::from_millis(300)))
}

#[tokio::test]
async fn broken_first_place_does_not_hide_the_second() {
    within_a_minute(async {
        let broken = [
            Reply::Close,
            Reply::Hang,
            Reply::Respond(500, "<html>".to_owned()),
            Reply::Respond(
                200,
                r#"{"issuer":"https://evil.example","token_endpoint":"https://evil.example/"}"#
                    .to_owned(),
            ),
        ];
        for first in broken {
            let endpoint = serve(|_, path| {
                let is_token = path == "/token";
                Reply::Respond(if is_token { 200 } else { 404 }, GRANTED.to_owned())
            });
            let endpoint = endpoint.await;
            let issuer = serve(move |issuer, path| match path {
                "/.well-known/oauth-authorization-server" => first.clone(),
                "/.well-known/openid-configuration" => Reply::Respond(
                    200,
                    format!(r#"{{"issuer":"{issuer}","token_endpoint":"{endpoint}/token"}}"#),
                ),
                _ => Reply::Respond(404, String::new()),
            });
            assert_eq!(log_in(login(&issuer.await)).await.unwrap().secret(), "abc");
        }
    })
    .await;
}

#[tokio::test]
async fn two_broken_places_are_both_reported() {
    within_a_minute(async {
        let issuer = serve(|_, path| match path {
            "/.well-known/oauth-authorization-server" => Reply::Close,
            _ => Reply::Respond(500, "down".to_owned()),
        });
        let error = log_in(login(&issuer.await)).await.unwrap_err();
        assert!(transport_error(&error).is_closed() && !error.is_permanent(), "{error}");
        let error = oauth2_error(&error);
        assert_eq!(error.status().map(|status| status.as_u16()), Some(500));
        assert!(error.to_string().ends_with("openid-configuration: 500: down"), "{error}");
    })
    .await;
}
