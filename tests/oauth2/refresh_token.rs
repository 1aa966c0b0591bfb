//! Refresh tokens that rotate.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AuthRefresher, LoginReason, LoginRequest,
    oauth2::{Grant, OAuth2Login, RefreshToken},
    test_util::TestClock,
    transport::HttpService,
};

use crate::support::{
    GRANTED, MockServer, Store, authorization_server, basic, log_in, log_in_again, oauth2_error,
    response, rotating_login, rotating_server,
};

#[tokio::test]
async fn rotated_refresh_token_is_used_once() {
    let server = MockServer::default();
    let grant = Grant::refresh_token(RefreshToken::new("r0"));
    let mut login =
        OAuth2Login::new(rotating_server(&server), authorization_server(), basic(), grant);
    for n in 1..=5 {
        let token =
            login.ready().await.unwrap().call(LoginRequest::new(LoginReason::First)).await.unwrap();
        assert_eq!(token.secret(), format!("a{n}"));
    }
    let used: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.parameter("refresh_token").to_owned())
        .collect();
    assert_eq!(used, ["r0", "r1", "r2", "r3", "r4"]);
    assert_eq!(server.last_request().parameter("grant_type"), "refresh_token");
}

#[tokio::test]
async fn dropped_login_does_not_cancel_the_grant() {
    let (server, gate) = (MockServer::default(), Arc::new(Semaphore::new(0)));
    let (http, opened) = (rotating_server(&server), gate.clone());
    // The login is dropped before the response arrives.
    let slow = service_fn(move |request: Request<Full<Bytes>>| {
        let (http, opened) = (http.clone(), opened.clone());
        async move {
            let response = send(http, request).await;
            opened.acquire().await?.forget();
            Ok::<_, BoxError>(response)
        }
    });
    let grant = Grant::refresh_token(RefreshToken::new("r0"));
    let mut login = OAuth2Login::new(slow, authorization_server(), basic(), grant);
    let mut dropped = tokio_test::task::spawn(login.call(LoginRequest::new(LoginReason::First)));
    assert!(dropped.poll().is_pending());
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(dropped);
    gate.add_permits(2);
    let token = login.call(LoginRequest::new(LoginReason::First)).await.unwrap();
    assert_eq!(token.secret(), "a2");
    let used: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.parameter("refresh_token").to_owned())
        .collect();
    assert_eq!(used, ["r0", "r1"]);
}

/// Passes a request on to another service.
async fn send(http: impl HttpService, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    let response = http.send(request, 1 << 20, Duration::from_secs(10)).await.unwrap();
    response.map(|body| Full::from(body.unwrap()))
}

#[tokio::test]
async fn next_refresh_token_is_saved_before_access_token_is_used() {
    let (server, store) = (MockServer::default(), Store::with("r0"));
    let mut login = rotating_login(&server, &store);
    assert_eq!(log_in_again(&mut login).await.unwrap().secret(), "a1");
    assert_eq!(store.has(), "r1");

    *store.works.lock().unwrap() = false;
    let error = log_in_again(&mut login).await.unwrap_err();
    assert!(!error.is_permanent(), "{error:?}");
    let error = log_in_again(&mut login).await.unwrap_err();
    assert_eq!(oauth2_error(&error).source().unwrap().to_string(), "the disk is full");
    assert_eq!(server.requests().len(), 2, "the last refresh token has to be saved first");

    *store.works.lock().unwrap() = true;
    assert_eq!(log_in_again(&mut login).await.unwrap().secret(), "a3");
    assert_eq!(store.has(), "r3");
}

#[tokio::test]
async fn next_refresh_token_survives_odd_response() {
    for rest in [
        r#""access_token":7"#,
        r#""error":{"code":"server_error"}"#,
        r#""expires_in":1e999"#,
        r#""access_token":"a","token_type":"mac""#,
        r#""access_token":"a b\n""#,
        r#""error":"server_error""#,
        r#""scope":"read""#,
    ] {
        let server = MockServer::default();
        let http = server.service(move |request| match request.parameter("refresh_token") {
            "r0" => response(200, format!(r#"{{{rest},"refresh_token":"r1"}}"#)),
            "r1" => response(200, GRANTED),
            other => panic!("{other}"),
        });
        let mut login = OAuth2Login::new(
            http,
            authorization_server(),
            basic(),
            Grant::refresh_token(RefreshToken::new("r0")),
        );
        log_in_again(&mut login).await.unwrap_err();
        assert_eq!(log_in_again(&mut login).await.unwrap().secret(), "abc", "{rest}");
    }
}

#[tokio::test]
async fn response_error_precedes_save_error() {
    let store = Store::with("r0");
    *store.works.lock().unwrap() = false;
    let body = r#"{"access_token":"a","token_type":"mac","refresh_token":"r1"}"#;
    let http = MockServer::default().service(move |_| response(200, body));
    let login =
        OAuth2Login::new(http, authorization_server(), basic(), Grant::refresh_token_store(store));
    let error = log_in(login).await.unwrap_err();
    assert!(oauth2_error(&error).to_string().contains("mac"), "{error:?}");
}

#[tokio::test]
async fn rejected_refresh_token_is_permanent_and_sent_once() {
    let (server, store) = (MockServer::default(), Store::with("r7"));
    let error = log_in_again(&mut rotating_login(&server, &store)).await.unwrap_err();
    assert!(error.is_permanent() && oauth2_error(&error).is_invalid_grant(), "{error:?}");
    assert_eq!(server.requests().len(), 1);

    *store.token.lock().unwrap() = None;
    let error = log_in_again(&mut rotating_login(&server, &store)).await.unwrap_err();
    assert!(error.is_permanent() && oauth2_error(&error).code().is_none(), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refresh_token_that_expires_first_brings_the_refresh_forward() {
    for (name, access, refresh) in [
        ("refresh_expires_in", 3600, 1800),
        ("refresh_token_expires_in", 3600, 600),
        ("refresh_expires_in", 0, 1800),
    ] {
        let server = MockServer::default();
        let last = Arc::new(Mutex::new((Instant::now(), 0)));
        let http = server.service(move |request| {
            let mut last = last.lock().unwrap();
            let is_alive = last.1 == 0 || last.0.elapsed() < Duration::from_secs(refresh);
            if !is_alive || request.parameter("refresh_token") != format!("r{}", last.1) {
                return response(400, r#"{"error":"invalid_grant","error_description":"Session not active"}"#);
            }
            *last = (Instant::now(), last.1 + 1);
            let n = last.1;
            let mut body = json!({"access_token": format!("a{n}"), "refresh_token": format!("r{n}"), name: refresh});
            if access > 0 {
                body["expires_in"] = json!(access);
            }
            response(200, body.to_string())
        });
        let grant = Grant::refresh_token(RefreshToken::new("r0"));
        let refresher =
            AuthRefresher::builder(OAuth2Login::new(http, authorization_server(), basic(), grant));
        let refresher = refresher.clock(TestClock::default()).build().unwrap();
        refresher.ready().await.unwrap();
        sleep(Duration::from_secs(4 * 3600)).await;
        let status = refresher.status();
        assert_eq!(status.consecutive_failures, 0, "{name} {access} {refresh}: {status:?}");
        let expected = 4 * 3600 / (refresh / 4 * 3);
        assert!((expected..=expected + 2).contains(&status.generation), "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_token_lifetime_of_other_grants_or_zero_has_no_effect() {
    let grants: [(u64, fn() -> Grant); 3] = [
        (600, Grant::client_credentials),
        (0, || Grant::refresh_token(RefreshToken::new("r0"))),
        (7200, || Grant::refresh_token(RefreshToken::new("r0"))),
    ];
    for (refresh, grant) in grants {
        let server = MockServer::default();
        let body = json!({"access_token": "a", "expires_in": 3600, "refresh_expires_in": refresh})
            .to_string();
        let http = server.service(move |_| response(200, &*body));
        let refresher = AuthRefresher::builder(OAuth2Login::new(
            http,
            authorization_server(),
            basic(),
            grant(),
        ));
        let refresher = refresher.clock(TestClock::default()).jitter(false).build().unwrap();
        refresher.ready().await.unwrap();
        sleep(Duration::from_secs(3299)).await;
        assert_eq!(server.requests().len(), 1, "{refresh}");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(server.requests().len(), 2, "{refresh}");
    }
}
