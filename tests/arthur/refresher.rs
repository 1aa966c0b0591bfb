//! The layer over hyper's client with the Arthur login, over sockets, at a server that checks tokens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::arthur_server::{Config, Server};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Barrier,
    task::JoinSet,
};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_auth_refresh::{
    AuthRefresh, AuthRefreshLayer, AuthRefresher, State,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, UserLogin},
    http_client::HttpClient,
};

type Hyper = Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>;

fn login(url: &str, credentials: Credentials) -> ArthurLogin<HttpClient> {
    let http = HttpClient::builder().build().unwrap();
    ArthurLogin::new(
        UserLogin::new(ArthurApi::new(BaseUrl::parse(url).unwrap(), http)),
        credentials,
    )
}

fn start(config: Config) -> (Server, AuthRefresher, AuthRefresh<Hyper>) {
    let credentials = Credentials::new(&config.login, &config.password);
    let server = Server::start(config).unwrap();
    let refresher = AuthRefresher::new(login(&server.base_url(), credentials));
    let hyper = Client::builder(TokioExecutor::new()).build_http();
    let client = AuthRefreshLayer::new(refresher.clone()).layer(hyper);
    (server, refresher, client)
}

async fn echo(client: &mut AuthRefresh<Hyper>, server: &Server) -> (StatusCode, String) {
    let request =
        Request::get(format!("{}/api/v3/echo", server.base_url())).body(Full::default()).unwrap();
    let response = client.ready().await.unwrap().call(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_first_requests_cause_one_login() {
    let (server, _, client) = start(Config { ttl: Duration::from_secs(3600), ..Config::default() });
    let server = Arc::new(server);
    let barrier = Arc::new(Barrier::new(1000));
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let (mut client, server, barrier) = (client.clone(), server.clone(), barrier.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            echo(&mut client, &server).await
        });
    }
    for response in tasks.join_all().await {
        assert_eq!(response, (StatusCode::OK, r#"{"token":1}"#.to_owned()));
    }
    assert_eq!(server.attempts(), 1);
}

#[tokio::test]
async fn refreshed_token_is_sent_and_invalidated_one_is_not() {
    let (server, refresher, mut client) = start(Config::default());
    assert_eq!(echo(&mut client, &server).await.1, r#"{"token":1}"#);
    refresher.refresh().await.unwrap();
    assert_eq!(echo(&mut client, &server).await.1, r#"{"token":2}"#);
    server.revoke();
    assert_eq!(echo(&mut client, &server).await.0, StatusCode::UNAUTHORIZED);
    refresher.invalidate();
    assert_eq!(echo(&mut client, &server).await.1, r#"{"token":3}"#);
}

#[tokio::test]
async fn failed_refresh_keeps_live_token() {
    let (server, refresher, mut client) = start(Config::default());
    assert_eq!(echo(&mut client, &server).await.1, r#"{"token":1}"#);
    server.outage(Duration::from_secs(60));
    let error = refresher.refresh().await.unwrap_err();
    assert!(error.retry_after().is_some_and(|delay| delay > Duration::from_secs(50)), "{error:?}");
    assert_eq!(refresher.status().state, State::Ready);
    assert_eq!(echo(&mut client, &server).await.1, r#"{"token":1}"#);
}

#[tokio::test]
async fn wrong_credentials_are_permanent() {
    let config = Config::default();
    let server = Server::start(config.clone()).unwrap();
    let refresher =
        AuthRefresher::new(login(&server.base_url(), Credentials::new(config.login, "wrong")));
    for _ in 0..10 {
        assert!(refresher.token().await.unwrap_err().is_permanent());
    }
    assert_eq!(server.attempts(), 1);
}

#[tokio::test]
async fn login_cut_off_in_its_body_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut request = Vec::new();
            while !request.contains(&b'}') && stream.read_buf(&mut request).await? > 0 {}
            let whole: &[u8] =
                b"HTTP/1.1 200 OK\r\nset-cookie: Authorization=abc\r\ncontent-length: 2\r\n\r\n{}";
            let cut = if counted.fetch_add(1, SeqCst) == 0 { whole.len() - 1 } else { whole.len() };
            stream.write_all(&whole[..cut]).await?;
        }
        #[allow(unreachable_code)]
        Ok::<_, BoxError>(())
    });
    let refresher = AuthRefresher::builder(login(&url, Credentials::new("jo", "swordfish")))
        .backoff(Duration::from_millis(1), Duration::from_millis(10))
        .build()
        .unwrap();
    let mut status = refresher.subscribe();
    refresher.ready().await.unwrap_err();
    status.wait_for(|status| status.state == State::Ready).await.unwrap();
    assert_eq!(refresher.token().await.unwrap().header_value(), "abc");
    assert_eq!(connections.load(SeqCst), 2);
}
