//! A password and its tokens must not appear in any output of this crate or of the libraries that it uses.

use std::{
    fmt::{Debug, Display, Write as _},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    arthur_server::{Config, Server},
    arthur_server_tls,
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

/// Collects everything that is formatted or traced.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn debug(&self, value: &dyn Debug) {
        let text = format!("{value:?}\n{value:#?}\n");
        self.0.lock().unwrap().extend(text.bytes());
    }

    fn error(&self, error: &(dyn std::error::Error + 'static)) {
        let mut text = String::new();
        for error in std::iter::successors(Some(error), |error| error.source()) {
            writeln!(text, "{error} {error:?} {error:#?}").unwrap();
        }
        self.0.lock().unwrap().extend(text.bytes());
    }

    fn display(&self, value: &dyn Display) {
        self.0.lock().unwrap().extend(value.to_string().bytes());
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn secrets_never_appear_in_any_output() {
    let output = Output::default();
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::TRACE)
        .with(tracing_subscriber::fmt::layer().with_writer(output.clone()));
    let _default = tracing::subscriber::set_default(subscriber);
    let mut tokens = Vec::new();

    for tls in [false, true] {
        let config = Config { password: PASSWORD.into(), ..Config::default() };
        let credentials = Credentials::new(&config.login, PASSWORD);
        let wrong = Credentials::new(&config.login, format!("{PASSWORD}-but-wrong"));
        let server = match tls {
            true => arthur_server_tls::start(config).unwrap().0,
            false => Server::start(config).unwrap(),
        };
        let base_url = BaseUrl::parse(&server.base_url()).unwrap();
        let http = HttpClient::builder().danger_accept_invalid_certs(true);
        output.debug(&http);
        let http = http.build().unwrap();
        let api = ArthurApi::new(base_url.clone(), http.clone());
        let login = ArthurLogin::new(UserLogin::new(api.clone()), credentials.clone());
        let builder = AuthRefresher::builder(login.clone());
        output.debug(&(&credentials, &api, &login, &builder));
        let refresher = builder.build().unwrap();
        let mut client = AuthRefreshLayer::new(refresher.clone()).layer(http.clone());

        // The first request waits for a token, the second has one.
        for _ in 0..2 {
            let request = Request::get(format!("{}/api/v3/echo", server.base_url()))
                .body(Full::<Bytes>::default());
            let future = client.ready().await.unwrap().call(request.unwrap());
            output.debug(&future);
            let response = future.await.unwrap();
            output.debug(&(response.status(), response.headers()));
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.unwrap();
            output.debug(&(&client, &refresher, refresher.status()));
        }
        let token = refresher.token().await.unwrap();
        output.debug(&token);
        tokens.push(token.secret().to_owned());
        let refreshed = refresher.refresh().await.unwrap();
        output.debug(&refreshed);
        tokens.push(refreshed.token.secret().to_owned());

        // The other endpoints, with an accepted token and with a rejected one.
        output.debug(
            &GetCurrentOrg::new(api.clone()).oneshot(refreshed.token.clone()).await.unwrap(),
        );
        output.debug(&UserLogin::new(api.clone()).oneshot(credentials).await.unwrap());
        server.revoke();
        output.error(
            &GetAuthInfo::new(api.clone()).oneshot(refreshed.token.clone()).await.unwrap_err(),
        );

        // Failed logins.
        output.error(&UserLogin::new(api.clone()).oneshot(wrong.clone()).await.unwrap_err());
        let failing = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api.clone()), wrong));
        let error = failing.token().await.unwrap_err();
        assert!(error.is_permanent());
        output.error(&error);
        output.debug(&failing);
        server.outage(Duration::from_secs(60));
        output.error(&refresher.refresh().await.unwrap_err());
        output.debug(&refresher.status());

        // A request that is not sent.
        let request = Request::get("http://example.com/").body(Full::default()).unwrap();
        let error = client.ready().await.unwrap().call(request).await.unwrap_err();
        output.debug(&error);
        output.display(&error);
        output.error(&*BoxError::from(error));
    }
    // A token that is not a valid header value, and a login error with such a token as its cause.
    let bad = format!("{}\n", tokens[0]);
    output.error(&AccessToken::raw(&bad).unwrap_err());
    output.error(&LoginError::transient(AccessToken::bearer(&bad).unwrap_err()));
    output.debug(&LoginRequest::new(LoginReason::First));
    let mut request = Request::get("/").body(()).unwrap();
    request
        .headers_mut()
        .insert(AUTHORIZATION, AccessToken::raw(&tokens[0]).unwrap().header_value().clone());
    output.debug(&request);

    let output = String::from_utf8_lossy(&output.0.lock().unwrap()).into_owned();
    assert!(
        output.contains("login succeeded") && output.contains("login failed"),
        "the traces are missing"
    );
    assert!(output.contains("hyper"), "the traces of the libraries are missing");
    assert_eq!(tokens.len(), 4);
    for secret in tokens.iter().map(String::as_str).chain(["sentinel-p", "8f3a"]) {
        if let Some(line) = output.lines().find(|line| line.contains(secret)) {
            panic!("the output contains a secret: {line}");
        }
    }
}

/// Collects the events of this crate only. The libraries trace a server's response as it is.
fn collect_crate_events(output: &Output) -> tracing::subscriber::DefaultGuard {
    let own = tracing_subscriber::filter::Targets::new()
        .with_target("tower_auth_refresh", LevelFilter::TRACE);
    let layer = tracing_subscriber::fmt::layer().with_writer(output.clone());
    tracing::subscriber::set_default(tracing_subscriber::registry().with(own).with(layer))
}

#[tokio::test]
async fn secrets_echoed_by_server_are_redacted() {
    const TOKEN: &str = "sentinel-t0ken-8f3a";
    let output = Output::default();
    let _default = collect_crate_events(&output);
    let json = serde_json::to_string(PASSWORD).unwrap();
    let bytes = PASSWORD.as_bytes().escape_ascii();

    // Each server echoes the secret of the request: a login sends the password, all other requests send the token.
    for (is_login, echo) in [
        (true, format!("{PASSWORD} {json}")),
        (true, format!("b\"{bytes}\" {json:?} {PASSWORD:?}")),
        (false, format!("{TOKEN} {TOKEN:?}")),
    ] {
        let (_, acceptor) = crate::support::self_signed("localhost");
        let go_away = crate::support::GoAway::start(acceptor, &echo).await; // words: the name of an HTTP/2 frame
        let bad_request = crate::support::Script::start(move |_| {
            let mut response = http::Response::new(crate::support::full(echo.clone()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        })
        .await;
        for url in [go_away.url(), bad_request.url()] {
            let http = HttpClient::builder().danger_accept_invalid_certs(true).build().unwrap();
            let api = ArthurApi::new(BaseUrl::parse(&url).unwrap(), http);
            if is_login {
                let credentials = Credentials::new("jo@example.com", PASSWORD);
                let refresher =
                    AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), credentials));
                output.error(&refresher.token().await.unwrap_err());
                output.debug(&refresher.status());
            } else {
                let token = AccessToken::raw(TOKEN).unwrap();
                output.error(&GetAuthInfo::new(api).oneshot(token).await.unwrap_err());
            }
        }
    }

    let output = String::from_utf8_lossy(&output.0.lock().unwrap()).into_owned();
    assert!(output.contains("login failed") && output.contains("excessive load"), "{output}");
    assert!(output.contains("[redacted]"), "the errors do not show the responses: {output}");
    for secret in ["sentinel-", "8f3a", "ssword"] {
        if let Some(line) = output.lines().find(|line| line.contains(secret)) {
            panic!("the output contains a secret: {line}");
        }
    }
}
