//! One password and its tokens, looked for in everything that the crate and the libraries beneath it tell.
#![cfg(all(feature = "arthur", feature = "http-client"))]

#[path = "../examples/server/mod.rs"]
mod server;
#[path = "support/arthur.rs"]
mod support;

use std::{
    fmt::{Debug, Display, Write as _},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, LoginError, LoginReason, LoginRequest,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, GetAuthInfo, GetCurrentOrg, UserLogin},
    http_client::HttpClient,
};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter, layer::SubscriberExt};

const PASSWORD: &str = "sentinel-pässword-\"8f3a\"";

/// All that was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn debug(&self, what: &dyn Debug) {
        let text = format!("{what:?}\n{what:#?}\n");
        self.0.lock().unwrap().extend(text.bytes());
    }

    fn error(&self, error: &(dyn std::error::Error + 'static)) {
        let mut text = String::new();
        for error in std::iter::successors(Some(error), |error| error.source()) {
            writeln!(text, "{error} {error:?} {error:#?}").unwrap();
        }
        self.0.lock().unwrap().extend(text.bytes());
    }

    fn display(&self, what: &dyn Display) {
        self.0.lock().unwrap().extend(what.to_string().bytes());
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Told {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_secret_is_told_anywhere() {
    let told = Told::default();
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::TRACE)
        .with(tracing_subscriber::fmt::layer().with_writer(told.clone()));
    let _default = tracing::subscriber::set_default(subscriber);
    let mut tokens = Vec::new();

    for tls in [false, true] {
        let config = server::Config { password: PASSWORD.into(), tls, ..server::Config::default() };
        let credentials = Credentials::new(&config.login, PASSWORD);
        let wrong = Credentials::new(&config.login, format!("{PASSWORD}-but-wrong"));
        let server = server::Server::start(config).unwrap();
        let base_url = BaseUrl::parse(&server.base_url()).unwrap();
        let http = HttpClient::builder().verify_ssl(false);
        told.debug(&http);
        let http = http.build().unwrap();
        let api = ArthurApi::new(base_url.clone(), http.clone());
        let login = ArthurLogin::new(UserLogin::new(api.clone()), credentials.clone());
        let builder = AuthRefresher::builder(login.clone());
        told.debug(&(&credentials, &api, &login, &builder));
        let refresher = builder.build().unwrap();
        let mut client = AuthRefreshLayer::new(refresher.clone()).layer(http.clone());

        // Without a token, then with one.
        for _ in 0..2 {
            let request = Request::get(format!("{}/api/v3/echo", server.base_url())).body(Full::<Bytes>::default());
            let future = client.ready().await.unwrap().call(request.unwrap());
            told.debug(&future);
            let response = future.await.unwrap();
            told.debug(&(response.status(), response.headers()));
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.unwrap();
            told.debug(&(&client, &refresher, refresher.status()));
        }
        let token = refresher.token().await.unwrap();
        told.debug(&token);
        tokens.push(token.secret().to_owned());
        let refreshed = refresher.refresh().await.unwrap();
        told.debug(&refreshed);
        tokens.push(refreshed.token.secret().to_owned());

        // The other endpoints, with a token that is accepted, and with one that is not.
        told.debug(&GetCurrentOrg::new(api.clone()).oneshot(refreshed.token.clone()).await.unwrap());
        told.debug(&UserLogin::new(api.clone()).oneshot(credentials).await.unwrap());
        server.revoke();
        told.error(&GetAuthInfo::new(api.clone()).oneshot(refreshed.token.clone()).await.unwrap_err());

        // Logins that fail.
        told.error(&UserLogin::new(api.clone()).oneshot(wrong.clone()).await.unwrap_err());
        let refused = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api.clone()), wrong));
        let error = refused.token().await.unwrap_err();
        assert!(error.is_permanent());
        told.error(&error);
        told.debug(&refused);
        server.outage(Duration::from_secs(60));
        told.error(&refresher.refresh().await.unwrap_err());
        told.debug(&refresher.status());

        // Requests that are not sent.
        let request = Request::get("http://example.com/").body(Full::default()).unwrap();
        let error = client.ready().await.unwrap().call(request).await.unwrap_err();
        told.debug(&error);
        told.display(&error);
        told.error(&*BoxError::from(error));
    }
    // A token that no header may hold, and a login service that fails with a token in hand.
    let bad = format!("{}\n", tokens[0]);
    told.error(&AccessToken::raw(&bad).unwrap_err());
    told.error(&LoginError::transient(AccessToken::bearer(&bad).unwrap_err()));
    told.debug(&LoginRequest::new(LoginReason::First));
    let mut request = Request::get("/").body(()).unwrap();
    request.headers_mut().insert(AUTHORIZATION, AccessToken::raw(&tokens[0]).unwrap().header_value().clone());
    told.debug(&request);

    let told = String::from_utf8_lossy(&told.0.lock().unwrap()).into_owned();
    assert!(told.contains("login succeeded") && told.contains("login failed"), "traces were captured");
    assert!(told.contains("hyper"), "the libraries' too");
    assert_eq!(tokens.len(), 4);
    for secret in tokens.iter().map(String::as_str).chain(["sentinel-p", "8f3a"]) {
        if let Some(line) = told.lines().find(|line| line.contains(secret)) {
            panic!("a secret was told: {line}");
        }
    }
}

/// The crate's own events only: what the libraries beneath it trace of a server's words is theirs.
fn own_events(told: &Told) -> tracing::subscriber::DefaultGuard {
    let own = tracing_subscriber::filter::Targets::new().with_target("tower_auth_refresh", LevelFilter::TRACE);
    let layer = tracing_subscriber::fmt::layer().with_writer(told.clone());
    tracing::subscriber::set_default(tracing_subscriber::registry().with(own).with(layer))
}

#[tokio::test]
async fn a_hostile_server_gets_no_secret_told() {
    const TOKEN: &str = "sentinel-t0ken-8f3a";
    let told = Told::default();
    let _default = own_events(&told);
    let json = serde_json::to_string(PASSWORD).unwrap();
    let bytes = PASSWORD.as_bytes().escape_ascii();

    // Each repeats what it was sent: a login has the password, and the other requests have the token.
    for (is_login, said) in [
        (true, format!("{PASSWORD} {json}")),
        (true, format!("b\"{bytes}\" {json:?} {PASSWORD:?}")),
        (false, format!("{TOKEN} {TOKEN:?}")),
    ] {
        let (_, acceptor) = support::self_signed("localhost");
        let breaks = support::GoAway::start(acceptor, &said).await;
        let refuses = support::Script::start(move |_| {
            let mut response = http::Response::new(support::full(said.clone()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        })
        .await;
        for url in [breaks.url(), refuses.url()] {
            let http = HttpClient::builder().verify_ssl(false).build().unwrap();
            let api = ArthurApi::new(BaseUrl::parse(&url).unwrap(), http);
            if is_login {
                let credentials = Credentials::new("jo@example.com", PASSWORD);
                let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), credentials));
                told.error(&refresher.token().await.unwrap_err());
                told.debug(&refresher.status());
            } else {
                let token = AccessToken::raw(TOKEN).unwrap();
                told.error(&GetAuthInfo::new(api).oneshot(token).await.unwrap_err());
            }
        }
    }

    let told = String::from_utf8_lossy(&told.0.lock().unwrap()).into_owned();
    assert!(told.contains("login failed") && told.contains("excessive load"), "{told}");
    assert!(told.contains("[redacted]"), "the servers' words are shown: {told}");
    for secret in ["sentinel-", "8f3a", "ssword"] {
        if let Some(line) = told.lines().find(|line| line.contains(secret)) {
            panic!("a secret was told: {line}");
        }
    }
}
