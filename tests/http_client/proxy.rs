//! `https` requests through a proxy.

use std::{env, process::Command};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, ServiceExt};
use tower_auth_refresh::http_client::{HttpClient, HttpsProxy, NewConnection};

use crate::servers::{HOST, Proxy, Server, Tls};

const OK: &str = "200 Connection established";

async fn get(client: HttpClient, url: &str) -> Result<String, BoxError> {
    let response = client.oneshot(Request::get(url).body(Full::default())?).await?;
    let body: Bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.into())?)
}

fn client(tls: &Tls, proxy: HttpsProxy) -> HttpClient {
    HttpClient::builder()
        .add_root_certificate(tls.certificate.clone())
        .https_proxy(proxy)
        .build()
        .unwrap()
}

#[tokio::test]
async fn https_request_goes_through_a_tunnel() {
    let tls = Tls::new();
    let server = Server::https(&tls).await;
    let proxy = Proxy::start(server.addr, None, OK).await;
    let client =
        client(&tls, HttpsProxy::new(&format!("http://{}", proxy.addr()), "localhost").unwrap());
    for _ in 0..2 {
        assert_eq!(get(client.clone(), &format!("https://{HOST}/")).await.unwrap(), "HTTP/2.0");
    }
    let [request] = &proxy.requests()[..] else { panic!("one connection serves both requests") };
    assert!(request.starts_with(&format!("CONNECT {HOST}:443 HTTP/1.1\r\n")), "{request}");
    assert!(!request.contains("Proxy-Authorization"), "{request}");
}

#[tokio::test]
async fn request_on_a_new_connection_has_its_own_tunnel() {
    let tls = Tls::new();
    let server = Server::https(&tls).await;
    let proxy = Proxy::start(server.addr, None, OK).await;
    let client = client(&tls, HttpsProxy::new(&format!("http://{}", proxy.addr()), "").unwrap());
    for tunnels in 1..=3 {
        let request = Request::get(format!("https://{HOST}/")).extension(NewConnection);
        client.clone().oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(proxy.requests().len(), tunnels);
    }
}

#[tokio::test]
async fn tunnel_goes_through_a_proxy_with_tls() {
    let tls = Tls::new();
    let server = Server::https(&tls).await;
    let proxy = Proxy::start(server.addr, Some(&tls), OK).await;
    let url = format!("https://localhost:{}", proxy.addr().port());
    let client = client(&tls, HttpsProxy::new(&url, "").unwrap());
    assert_eq!(get(client, &format!("https://{HOST}:8443/")).await.unwrap(), "HTTP/2.0");
    assert!(proxy.requests()[0].starts_with(&format!("CONNECT {HOST}:8443 HTTP/1.1\r\n")));
}

#[tokio::test]
async fn credentials_in_the_url_are_sent_to_the_proxy() {
    let tls = Tls::new();
    let server = Server::https(&tls).await;
    let proxy = Proxy::start(server.addr, None, OK).await;
    let url = format!("http://user:pa%40ss@{}", proxy.addr());
    let proxy_setting = HttpsProxy::new(&url, "").unwrap();
    assert!(!format!("{proxy_setting:?}").contains("pa"), "{proxy_setting:?}");
    get(client(&tls, proxy_setting), &format!("https://{HOST}/")).await.unwrap();
    // "user:pa@ss"
    assert!(proxy.requests()[0].contains("Proxy-Authorization: Basic dXNlcjpwYUBzcw==\r\n"));
}

#[tokio::test]
async fn host_in_no_proxy_is_reached_directly() {
    let tls = Tls::new();
    let server = Server::https(&tls).await;
    let proxy = Proxy::start(server.addr, None, OK).await;
    let url = format!("https://localhost:{}/", server.addr.port());
    for (no_proxy, tunnels) in [("localhost,.internal", 0), ("example.com", 1)] {
        let client =
            client(&tls, HttpsProxy::new(&format!("http://{}", proxy.addr()), no_proxy).unwrap());
        get(client, &url).await.unwrap();
        assert_eq!(proxy.requests().len(), tunnels, "{no_proxy}");
    }
}

#[tokio::test]
async fn refused_tunnel_is_an_error_without_the_password() {
    let tls = Tls::new();
    let server = Server::https(&tls).await;
    let proxy = Proxy::start(server.addr, None, "407 Proxy Authentication Required").await;
    let url = format!("http://user:s3cr3t@{}", proxy.addr());
    let error = get(client(&tls, HttpsProxy::new(&url, "").unwrap()), &format!("https://{HOST}/"))
        .await
        .unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("ProxyAuthRequired"), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[test]
fn unsupported_proxy_is_refused() {
    for url in ["", "socks5://localhost:1080", "ftp://localhost", "http://", "not a url"] {
        let error = HttpsProxy::new(url, "").unwrap_err();
        assert_eq!(error.to_string(), "proxy is not an http or https URL", "{url}");
    }
    assert!(HttpsProxy::new("proxy.example.com:3128", "").is_ok(), "as in curl");
}

/// Runs `child_reads_the_environment` in a process that has these variables.
async fn run_child(variables: Vec<(&'static str, String)>) {
    let run = tokio::task::spawn_blocking(|| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "proxy::child_reads_the_environment"])
            .env_remove("REQUEST_METHOD")
            .envs(variables)
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
}

#[tokio::test]
async fn environment_is_read_if_asked_to() {
    let tls = Tls::new();
    let (server, plaintext) = (Server::https(&tls).await, Server::http().await);
    let proxy = Proxy::start(server.addr, None, OK).await;
    let url = format!("http://{}", proxy.addr());
    let proxies = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, url.clone()));
    for (no_proxy, urls, tunnels) in [
        ("example.org", format!("https://{HOST}/"), 1),
        ("localhost", format!("https://localhost:{}/", server.addr.port()), 1),
        ("", format!("http://{}/", plaintext.addr), 1),
    ] {
        let mut variables = proxies.to_vec();
        variables.extend([("NO_PROXY", no_proxy.to_owned()), ("TEST_URL", urls)]);
        run_child(variables).await;
        assert_eq!(proxy.requests().len(), tunnels, "{no_proxy}");
    }
    // A direct connection would succeed.
    let direct = format!("https://localhost:{}/", server.addr.port());
    let socks = "socks5://localhost:1080".to_owned();
    run_child(vec![
        ("ALL_PROXY", socks),
        ("TEST_URL", direct),
        ("TEST_ERROR", "InvalidProxy".to_owned()),
    ])
    .await;
}

/// Does nothing by itself; see [`run_child`].
#[tokio::test]
async fn child_reads_the_environment() {
    let Ok(url) = env::var("TEST_URL") else { return };
    let client = HttpClient::builder()
        .danger_accept_invalid_certs(true)
        .https_proxy(HttpsProxy::from_env())
        .build()
        .unwrap();
    match (get(client, &url).await, env::var("TEST_ERROR")) {
        (Ok(_), Err(_)) => {}
        (Err(error), Ok(expected)) => {
            assert!(format!("{error:?}").contains(&expected), "{error:?}")
        }
        (result, _) => panic!("{result:?}"),
    }
}
