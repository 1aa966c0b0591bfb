//! Tests of the Arthur server, over HTTP/1.1 and over TLS with HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use examples::{
    arthur_server::{Config, Server},
    arthur_server_tls,
};
use http::{HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_auth_refresh::{
    Expiry, LoginReason, LoginRequest,
    arthur::{
        ArthurApi, ArthurLogin, Credentials, GetAuthInfo, GetCurrentOrg, LoggedIn, UserLogin,
    },
    http_client::HttpClient,
};

fn client() -> HttpClient {
    HttpClient::builder().build().unwrap()
}

fn login(server: &Server) -> UserLogin<HttpClient> {
    login_over(client(), server)
}

fn login_over(http: HttpClient, server: &Server) -> UserLogin<HttpClient> {
    UserLogin::new(ArthurApi::new(server.base_url().parse().unwrap(), http))
}

fn credentials() -> Credentials {
    let config = Config::default();
    Credentials::new(config.login, config.password)
}

async fn send(
    server: &Server,
    method: &str,
    path: &str,
    token: Option<&HeaderValue>,
) -> (Response<()>, String) {
    send_over(client(), server, method, path, token).await
}

async fn send_over(
    http: HttpClient,
    server: &Server,
    method: &str,
    path: &str,
    token: Option<&HeaderValue>,
) -> (Response<()>, String) {
    let mut request = Request::builder().method(method).uri(format!("{}{path}", server.base_url()));
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = http.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (Response::from_parts(head, ()), body)
}

/// Returns a token that expired when it was issued. All servers sign with one key, so each knows the signature.
async fn expired_token() -> HeaderValue {
    let server = Server::start(Config { ttl: Duration::ZERO, ..Config::default() }).unwrap();
    let Config { login, password, .. } = Config::default();
    let body = format!(r#"{{"login":"{login}","password":"{password}"}}"#);
    let request = Request::post(format!("{}/api/v3/login", server.base_url()));
    let request = request.body(Full::from(body)).unwrap();
    let response = client().oneshot(request).await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    let token = cookie.strip_prefix("Authorization=").unwrap();
    token.split(';').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn login_returns_token_that_echo_accepts() {
    for tls in [false, true] {
        let (server, http) = match tls {
            true => {
                let (server, certificate) = arthur_server_tls::start(Config::default()).unwrap();
                (server, HttpClient::builder().add_root_certificate(certificate).build().unwrap())
            }
            false => (Server::start(Config::default()).unwrap(), client()),
        };
        for number in 1..=3 {
            let login = login_over(http.clone(), &server);
            let LoggedIn { token, user, .. } = login.oneshot(credentials()).await.unwrap();
            assert_eq!(user.unwrap().email, Config::default().login);
            assert!(matches!(token.expiry(), Expiry::In(left) if left <= Duration::from_secs(9)));
            let token = Some(token.header_value());
            let (response, body) =
                send_over(http.clone(), &server, "GET", "/api/v3/echo", token).await;
            assert_eq!(response.status(), 200);
            assert_eq!(body, format!("{{\"token\":{number}}}"));
            let version = if tls { Version::HTTP_2 } else { Version::HTTP_11 };
            assert_eq!(response.version(), version);
        }
        assert_eq!(server.logins(), 3);
    }
}

#[tokio::test]
async fn other_endpoints_accept_token() {
    let server = Server::start(Config::default()).unwrap();
    let token = login(&server).oneshot(credentials()).await.unwrap().token;
    let api = ArthurApi::new(server.base_url().parse().unwrap(), client());
    let org = GetCurrentOrg::new(api.clone()).oneshot(token.clone()).await.unwrap();
    let info = GetAuthInfo::new(api).oneshot(token).await.unwrap();
    assert_eq!(info.organization_ids, [org.unwrap()]);
}

#[tokio::test]
async fn missing_unknown_expired_or_revoked_token_fails_with_401() {
    let server = Server::start(Config::default()).unwrap();
    let old = login(&server).oneshot(credentials()).await.unwrap().token;
    server.revoke();
    let expired = expired_token().await;
    let unknown = HeaderValue::from_static("0a1b2c");
    for token in [None, Some(&unknown), Some(&expired), Some(old.header_value())] {
        let (response, _) = send(&server, "GET", "/api/v3/echo", token).await;
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
    }
    let new = login(&server).oneshot(credentials()).await.unwrap().token;
    let (response, body) = send(&server, "GET", "/api/v3/echo", Some(new.header_value())).await;
    assert_eq!((response.status().as_u16(), body.as_str()), (200, "{\"token\":2}"));

    send(&server, "POST", "/control/revoke", None).await;
    let (response, _) = send(&server, "GET", "/api/v3/echo", Some(new.header_value())).await;
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn login_during_outage_fails_with_retry_after() {
    let server = Server::start(Config::default()).unwrap();
    send(&server, "POST", "/control/outage?seconds=600", None).await;
    let error = ArthurLogin::new(login(&server), credentials())
        .oneshot(LoginRequest::new(LoginReason::First))
        .await
        .unwrap_err();
    assert!(!error.is_permanent());
    let wait = error.retry_after().unwrap();
    assert!((500..=600).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!((server.logins(), server.attempts()), (0, 1));

    server.outage(Duration::ZERO);
    login(&server).oneshot(credentials()).await.unwrap();
}

#[tokio::test]
async fn invalid_outage_is_rejected() {
    let server = Server::start(Config { ttl: Duration::MAX, ..Config::default() }).unwrap();
    for seconds in ["18446744073709551615", "-1", ""] {
        let (response, _) =
            send(&server, "POST", &format!("/control/outage?seconds={seconds}"), None).await;
        assert_eq!(response.status(), 400, "{seconds}");
    }
    login(&server).oneshot(credentials()).await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_get_403() {
    let server = Server::start(Config::default()).unwrap();
    let wrong = Credentials::new(Config::default().login, "guess");
    let error = login(&server).oneshot(wrong).await.unwrap_err();
    assert!(error.is_wrong_credentials());
    assert_eq!(error.status(), Some(http::StatusCode::FORBIDDEN), "as the real server responds");
    assert_eq!(server.logins(), 0);
}

#[tokio::test]
async fn dropped_server_closes_connections() {
    let server = Server::start(Config::default()).unwrap();
    let api = ArthurApi::new(server.base_url().parse().unwrap(), client());
    let mut login = UserLogin::new(api);
    (&mut login).oneshot(credentials()).await.unwrap();
    drop(server);
    tokio::task::yield_now().await;
    let error = login.oneshot(credentials()).await.unwrap_err();
    let cause = error.transport_error().unwrap();
    assert!(cause.is_connect() || cause.is_closed(), "{error}");
}
