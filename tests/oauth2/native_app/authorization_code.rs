//! Logins in a browser: what is sent, and which redirects are accepted.

use std::{
    future::ready,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use tower::{BoxError, service_fn};
use tower_auth_refresh::{
    oauth2::{
        AuthorizationServer, ClientAuthentication, OAuth2Error,
        native_app::{AuthorizationCodeLogin, AuthorizationRequest, DeviceLogin, Tokens},
    },
    transport::HttpService,
};

use super::browser::{authorize_server, get, parameters, redirect_with};
use crate::support::{ENDPOINT, MockServer, response};

const GRANTED: &str = r#"{"access_token":"abc","token_type":"Bearer","refresh_token":"r0"}"#;

pub(crate) fn granting_server(server: &MockServer) -> impl HttpService + use<> {
    server.service(|_| response(200, GRANTED))
}

pub(crate) fn login<S>(http: S) -> AuthorizationCodeLogin<S> {
    AuthorizationCodeLogin::new(
        http,
        authorize_server(),
        ClientAuthentication::public("orders-cli"),
    )
}

/// Starts a login, and sends a redirect with this query in place of the code. `STATE` stands for the state.
async fn redirected(query: &str) -> (u16, Result<Tokens, OAuth2Error>, MockServer) {
    let server = MockServer::default();
    let request = login(granting_server(&server)).start().await.unwrap();
    let (status, result) = answered(request, query).await;
    (status, result, server)
}

/// Waits for the login, and sends a redirect.
pub(crate) async fn answered<S: HttpService>(
    request: AuthorizationRequest<S>,
    query: &str,
) -> (u16, Result<Tokens, OAuth2Error>) {
    let target = redirect_with(&request, query);
    let (tokens, page) = tokio::join!(request.wait(), get(&target));
    (page.status, tokens)
}

#[tokio::test]
async fn requests_are_those_of_the_standards() {
    let server = MockServer::default();
    let login = login(granting_server(&server))
        .scope("openid offline_access")
        .parameter("prompt", "consent")
        .parameter("state", "fixed")
        .parameter("resource", "urn:a")
        .parameter("resource", "urn:b");
    let request = login.start().await.unwrap();
    let redirect_uri = request.redirect_uri().to_owned();
    assert!(redirect_uri.starts_with("http://127.0.0.1:") && redirect_uri.ends_with("/callback"));

    assert!(request.url().starts_with("https://as.example/authorize?response_mode=query&"));
    let sent = parameters(request.url());
    let value = |name: &str| match &*sent[name] {
        [value] => value.clone(),
        values => panic!("{name}: {values:?}"),
    };
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", "orders-cli"),
        ("redirect_uri", &redirect_uri),
        ("scope", "openid offline_access"),
        ("prompt", "consent"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(value(name), expected);
    }
    assert_eq!(sent["resource"], ["urn:a", "urn:b"]);
    assert_eq!(value("state").len(), 43, "256 bits");
    let challenge = value("code_challenge");

    let (status, tokens) = answered(request, "code=c0de%2B&state=STATE").await;
    assert_eq!(status, 200);
    let tokens = tokens.unwrap();
    assert_eq!(tokens.access_token().secret(), "abc");
    assert_eq!(tokens.refresh_token().unwrap().secret(), "r0");
    let request = server.last_request();
    assert_eq!(request.url, ENDPOINT);
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("code", "c0de+"),
        ("redirect_uri", &redirect_uri),
        ("client_id", "orders-cli"),
    ] {
        assert_eq!(request.parameter(name), value);
    }
    let verifier = request.parameter("code_verifier");
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)), challenge);
    assert_eq!(request.form.len(), 5, "{:?}", request.form);
}

#[tokio::test]
async fn each_login_has_its_own_state_and_verifier() {
    let login = login(granting_server(&MockServer::default()));
    let (one, other) = (login.clone().start().await.unwrap(), login.start().await.unwrap());
    let (one, other) = (parameters(one.url()), parameters(other.url()));
    for name in ["state", "code_challenge", "redirect_uri"] {
        assert_ne!(one[name], other[name], "{name}");
    }
}

#[tokio::test]
async fn confidential_client_authenticates() {
    let server = MockServer::default();
    let client = ClientAuthentication::client_secret_basic("orders-cli", "swordfish");
    let login = AuthorizationCodeLogin::new(granting_server(&server), authorize_server(), client);
    let request = login.start().await.unwrap();
    assert!(!request.url().contains("swordfish"));
    answered(request, "code=c&state=STATE").await.1.unwrap();
    assert!(server.last_request().headers["authorization"].to_str().unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn denial_ends_the_login() {
    let query = "error=access_denied&error_description=no%1B%5B2J+thanks&state=STATE";
    let (status, result, server) = redirected(query).await;
    assert_eq!(status, 400);
    let error = result.unwrap_err();
    assert!(error.is_access_denied() && error.is_permanent() && !error.is_login_expired());
    assert_eq!(
        error.to_string(),
        "https://as.example/authorize: access_denied: no\\u{1b}[2J thanks",
        "escape sequences are not for the terminal"
    );
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn empty_error_beside_a_code_is_ignored() {
    assert!(redirected("code=c0de&error=&state=STATE").await.1.is_ok());
}

#[tokio::test]
async fn error_in_the_redirect_shows_no_secret() {
    for (query, shown) in [
        ("error=invalid_request&error_description=bad+STATE", "invalid_request: bad [redacted]"),
        ("error=x-STATE", "x-[redacted]"),
        ("error=x-s3cr3t&error_description=a+s3cr3t&code=s3cr3t", "x-[redacted]: a [redacted]"),
        // A code of a standard cannot show a secret, even if it contains a short one.
        ("error=access_denied&code=d", "access_denied"),
    ] {
        let error = redirected(&format!("{query}&state=STATE")).await.1.unwrap_err();
        assert_eq!(error.to_string(), format!("https://as.example/authorize: {shown}"));
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_is_refused_does_not_use_up_the_code() {
    for (refusals, succeeds) in [(2, true), (3, false)] {
        let requests = Arc::new(AtomicU32::new(0));
        let sent = requests.clone();
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            let is_refused = sent.fetch_add(1, Ordering::Relaxed) < refusals;
            ready(match is_refused {
                true => Err(BoxError::from(io::Error::from(io::ErrorKind::ConnectionRefused))),
                false => Ok(Response::new(Full::<Bytes>::from(GRANTED))),
            })
        });
        let request = login(http).start().await.unwrap();
        let (_, result) = answered(request, "code=c0de&state=STATE").await;
        assert_eq!(result.is_ok(), succeeds, "{refusals}");
        assert_eq!(requests.load(Ordering::Relaxed), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn lost_response_is_not_requested_again() {
    let requests = Arc::new(AtomicU32::new(0));
    let sent = requests.clone();
    let http = service_fn(move |_: Request<Full<Bytes>>| {
        sent.fetch_add(1, Ordering::Relaxed);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        ready(Err::<Response<Full<Bytes>>, _>(BoxError::from(reset)))
    });
    let request = login(http).start().await.unwrap();
    assert!(answered(request, "code=c0de&state=STATE").await.1.is_err());
    assert_eq!(requests.load(Ordering::Relaxed), 1, "the code can be used up");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn wait_works_in_another_runtime_than_start() {
    let request = login(granting_server(&MockServer::default())).start();
    let request = runtime().block_on(request).unwrap();
    let (_, result) = runtime().block_on(answered(request, "code=c0de&state=STATE"));
    assert!(result.is_ok(), "{:?}", result.err());
}

#[test]
fn login_outside_of_a_runtime_is_an_error() {
    fn error<T: std::fmt::Debug>(future: impl Future<Output = Result<T, OAuth2Error>>) -> String {
        let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(result) = polled else { panic!("pending") };
        result.unwrap_err().to_string()
    }

    let login = login(granting_server(&MockServer::default()));
    assert_eq!(error(login.clone().start()), "login in the browser: tokio runtime missing");
    let request = runtime().block_on(login.start()).unwrap();
    assert_eq!(error(request.wait()), "https://as.example/authorize: tokio runtime missing");
    let http = granting_server(&MockServer::default());
    let on_device = DeviceLogin::new(http, authorize_server(), ClientAuthentication::public("cli"));
    assert_eq!(error(on_device.start()), "device login: tokio runtime missing");
}

#[tokio::test]
async fn outage_of_the_server_is_transient() {
    for code in ["server_error", "temporarily_unavailable"] {
        let error = redirected(&format!("error={code}&state=STATE")).await.1.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(!error.is_permanent() && !error.is_access_denied());
    }
}

#[tokio::test]
async fn redirect_without_one_code_ends_the_login() {
    for (query, cause) in [
        ("state=STATE", "code is missing"),
        ("code=&state=STATE", "code is missing"),
        ("code=a&code=b&state=STATE", "code is repeated"),
    ] {
        let (status, result, server) = redirected(query).await;
        let error = result.unwrap_err();
        assert_eq!(status, 400, "{query}");
        assert!(error.is_invalid_response(), "{query}");
        assert_eq!(
            error.to_string(),
            format!("https://as.example/authorize: invalid redirect: {cause}")
        );
        assert!(server.requests().is_empty(), "{query}");
    }
}

#[tokio::test]
async fn rejected_code_is_the_error_and_is_not_shown() {
    let server = MockServer::default();
    let http = server.service(|request| {
        let (code, verifier) = (request.parameter("code"), request.parameter("code_verifier"));
        let body = format!(
            r#"{{"error":"invalid_grant","error_description":"{code} or {verifier} is wrong"}}"#
        );
        response(400, body)
    });
    let request = login(http).start().await.unwrap();
    let (status, result) = answered(request, "code=s3cr3tc0de&state=STATE").await;
    assert_eq!(status, 200, "the page does not wait for the token request");
    assert_eq!(
        result.unwrap_err().to_string(),
        "POST https://as.example/token: 400 invalid_grant: [redacted] or [redacted] is wrong"
    );
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let login = login(granting_server(&MockServer::default())).parameter("login_hint", "alice");
    let request = login.clone().start().await.unwrap();
    let shown = format!("{login:?} {request:?}");
    let sent = parameters(request.url());
    assert!(shown.contains("orders-cli") && !shown.contains("alice"));
    assert!(!shown.contains(&sent["state"][0]) && !shown.contains(&sent["code_challenge"][0]));
    let (_, tokens) = answered(request, "code=c&state=STATE").await;
    let shown = format!("{:?}", tokens.unwrap());
    assert!(!shown.contains("abc") && !shown.contains("r0"), "{shown}");
}

#[tokio::test]
async fn redirect_uri_is_the_registered_one() {
    let login = login(granting_server(&MockServer::default()));
    let on_localhost = login.clone().redirect_uri("http://localhost/a/b").unwrap();
    let request = on_localhost.start().await.unwrap();
    let redirect_uri = request.redirect_uri().to_owned();
    assert!(redirect_uri.starts_with("http://localhost:") && redirect_uri.ends_with("/a/b"));
    assert_eq!(parameters(request.url())["redirect_uri"], [&*redirect_uri]);
    assert!(answered(request, "code=c&state=STATE").await.1.is_ok());

    // Another program can take a port that was free a moment ago.
    let (fixed, login, request) = loop {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fixed = format!("http://{free}/");
        let login = login.clone().redirect_uri(&fixed).unwrap();
        if let Ok(request) = login.clone().start().await {
            break (fixed, login, request);
        }
    };
    assert_eq!(request.redirect_uri(), fixed);
    let error = login.start().await.unwrap_err();
    assert!(error.to_string().contains("listener for the redirect failed"), "{error}");
    assert!(!error.is_permanent());
}

#[tokio::test(start_paused = true)]
async fn login_ends_at_its_time_limit() {
    let login = login(granting_server(&MockServer::default()));
    for (login, limit) in [
        (login.clone(), Duration::from_secs(300)),
        (login.time_limit(Duration::from_secs(7)), Duration::from_secs(7)),
    ] {
        let before = tokio::time::Instant::now();
        let error = login.start().await.unwrap().wait().await.unwrap_err();
        assert!(error.is_login_expired() && error.is_permanent());
        assert_eq!(before.elapsed().as_secs(), limit.as_secs());
        assert_eq!(
            error.to_string(),
            format!("https://as.example/authorize: login not completed within {limit:?}")
        );
    }
}

#[test]
fn login_can_be_spawned_with_a_service_that_is_not_sync() {
    fn assert_send(_: impl Send) {}

    // As tower's `BoxCloneService`.
    let http = tower::util::BoxCloneService::new(tower::service_fn(
        |_: http::Request<http_body_util::Full<bytes::Bytes>>| async {
            Ok::<_, tower::BoxError>(http::Response::new(String::new()))
        },
    ));
    let in_browser = login(http.clone());
    assert_send(async { in_browser.start().await.unwrap().wait().await });
    let on_device = DeviceLogin::new(http, authorize_server(), ClientAuthentication::public("cli"));
    assert_send(async { on_device.start().await.unwrap().wait().await });
}

#[tokio::test]
async fn server_without_authorization_endpoint_is_an_error() {
    let server = AuthorizationServer::token_endpoint(ENDPOINT).unwrap();
    let http = granting_server(&MockServer::default());
    let client = ClientAuthentication::public("orders-cli");
    let error = AuthorizationCodeLogin::new(http, server, client).start().await.unwrap_err();
    assert_eq!(error.to_string(), "authorization server: authorization_endpoint is not set");
    assert!(error.is_permanent());
}
