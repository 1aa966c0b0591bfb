//! Metadata, and the token endpoint that it names.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};
use tower_auth_refresh::{
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
    transport::HttpService,
};

use crate::support::{
    ENDPOINT, GRANTED, MockServer, basic, claims, log_in, log_in_again, oauth2_error, response,
};

/// A server with metadata at one place.
fn metadata_at(
    server: &MockServer,
    place: &'static str,
    metadata: Value,
) -> impl HttpService + use<> {
    server.service(move |request| match &*request.url {
        url if url == place => response(200, metadata.to_string()),
        "https://as.example/token" => response(200, GRANTED),
        _ => response(404, "not here"),
    })
}

#[tokio::test]
async fn token_endpoint_is_found_once_in_either_place() {
    for place in [
        "https://as.example/.well-known/oauth-authorization-server/acme",
        "https://as.example/acme/.well-known/openid-configuration",
    ] {
        let server = MockServer::default();
        let metadata =
            json!({"issuer": "https://as.example/acme", "token_endpoint": ENDPOINT, "more": [1]});
        let issuer = AuthorizationServer::discover("https://as.example/acme").unwrap();
        let client = ClientAuthentication::client_secret_jwt("orders", "secret");
        let http = metadata_at(&server, place, metadata);
        let mut login = OAuth2Login::new(http, issuer, client, Grant::client_credentials());
        for _ in 0..2 {
            log_in_again(&mut login).await.unwrap();
        }
        let request = server.requests();
        assert_eq!(request.iter().filter(|request| request.url == place).count(), 1);
        assert_eq!(request.iter().filter(|request| request.url == ENDPOINT).count(), 2);
        assert_eq!(
            claims(server.last_request().parameter("client_assertion")).1["aud"],
            "https://as.example/acme"
        );
    }
}

#[tokio::test]
async fn misleading_metadata_is_rejected() {
    for metadata in [
        json!({"issuer": "https://evil.example", "token_endpoint": ENDPOINT}),
        json!({"issuer": "https://as.example/", "token_endpoint": ENDPOINT}),
        json!({"issuer": "https://as.example", "token_endpoint": "http://as.example/token"}),
        json!({"issuer": "https://as.example", "token_endpoint": "file:///etc/passwd"}),
        json!({"issuer": "https://as.example", "token_endpoint": "http://127.0.0.1:6379/token"}),
        json!({"issuer": "https://as.example"}),
        json!({"token_endpoint": ENDPOINT}),
        json!(7),
    ] {
        let server = MockServer::default();
        let issuer = AuthorizationServer::discover("https://as.example").unwrap();
        let http = metadata_at(&server, FIRST, metadata.clone());
        let error = log_in(OAuth2Login::new(http, issuer, basic(), Grant::client_credentials()))
            .await
            .unwrap_err();
        assert!(oauth2_error(&error).is_invalid_response(), "{metadata}: {error:?}");
        assert!(!error.is_permanent(), "{metadata}");
        assert!(server.requests().iter().all(|request| request.url != ENDPOINT), "{metadata}");
    }
}

const FIRST: &str = "https://as.example/.well-known/oauth-authorization-server";
const SECOND: &str = "https://as.example/.well-known/openid-configuration";

#[tokio::test]
async fn first_place_without_usable_metadata_does_not_hide_the_second() {
    for (status, body) in [
        (200, "<html>"),
        (200, "{}"),
        (200, r#"{"issuer":"https://evil.example","token_endpoint":"https://evil.example/token"}"#),
        (200, r#"{"issuer":"https://as.example"}"#),
        (200, r#"{"issuer":"https://as.example","token_endpoint":"http://as.example/token"}"#),
        (302, ""),
        (404, ""),
        (401, ""),
        (429, ""),
        (500, ""),
        (503, ""),
    ] {
        let server = MockServer::default();
        let http = server.service(move |request| match &*request.url {
            FIRST => response(status, body),
            SECOND => response(
                200,
                json!({"issuer": "https://as.example", "token_endpoint": ENDPOINT}).to_string(),
            ),
            ENDPOINT => response(200, GRANTED),
            other => panic!("{other}"),
        });
        let issuer = AuthorizationServer::discover("https://as.example").unwrap();
        let login = OAuth2Login::new(http, issuer, basic(), Grant::client_credentials());
        assert_eq!(log_in(login).await.unwrap().secret(), "abc", "{status} {body}");
    }
}

#[tokio::test]
async fn discovery_error_contains_the_causes_of_both_places() {
    let http = MockServer::default().service(move |request| {
        let (status, retry_after) = if request.url == FIRST { (503, "7") } else { (429, "30") };
        let mut response = response(status, "not now");
        response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
        response
    });
    let issuer = AuthorizationServer::discover("https://as.example").unwrap();
    let error = log_in(OAuth2Login::new(http, issuer, basic(), Grant::client_credentials()))
        .await
        .unwrap_err();
    assert!(!error.is_permanent());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    assert_eq!(oauth2_error(&error).status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(
        oauth2_error(&error).to_string(),
        format!(
            "https://as.example: metadata is missing or invalid; GET {FIRST}: 503: not now; GET {SECOND}: 429: not now"
        )
    );
}

#[tokio::test]
async fn overloaded_server_is_not_discovered_again() {
    for (status, is_discovered_again) in [(429, false), (503, false), (500, false), (404, true)] {
        let server = MockServer::default();
        let http = server.service(move |request| match &*request.url {
            ENDPOINT => response(status, "not now"),
            _ => response(
                200,
                json!({"issuer": "https://as.example", "token_endpoint": ENDPOINT}).to_string(),
            ),
        });
        let issuer = AuthorizationServer::discover("https://as.example").unwrap();
        let mut login = OAuth2Login::new(http, issuer, basic(), Grant::client_credentials());
        log_in_again(&mut login).await.unwrap_err();
        log_in_again(&mut login).await.unwrap_err();
        assert_eq!(
            server.requests().iter().filter(|request| request.url != ENDPOINT).count(),
            if is_discovered_again { 2 } else { 1 }
        );
    }
}

#[tokio::test]
async fn found_endpoint_survives_unreachable_metadata() {
    let server = MockServer::default();
    let count = Arc::new(Mutex::new(0));
    let http = server.service(move |request| {
        let mut n = count.lock().unwrap();
        *n += 1;
        match (&*request.url, *n) {
            (ENDPOINT, 2) => response(404, "for a moment"),
            (ENDPOINT, _) => response(200, GRANTED),
            (_, 1) => response(
                200,
                json!({"issuer": "https://as.example", "token_endpoint": ENDPOINT}).to_string(),
            ),
            _ => response(503, "down"),
        }
    });
    let issuer = AuthorizationServer::discover("https://as.example").unwrap();
    let mut login = OAuth2Login::new(http, issuer, basic(), Grant::client_credentials());
    log_in_again(&mut login).await.unwrap_err();
    log_in_again(&mut login).await.unwrap();
}

#[tokio::test]
async fn moved_endpoint_is_discovered_again() {
    let server = MockServer::default();
    let moved = Arc::new(Mutex::new(false));
    let shown = moved.clone();
    let http = server.service(move |request| {
        let moved = *shown.lock().unwrap();
        let endpoint = if moved { "https://as.example/new" } else { ENDPOINT };
        match &*request.url {
            "https://as.example/.well-known/oauth-authorization-server" => response(
                200,
                json!({"issuer": "https://as.example", "token_endpoint": endpoint}).to_string(),
            ),
            url if url == endpoint => response(200, GRANTED),
            _ => response(404, "gone"),
        }
    });
    let issuer = AuthorizationServer::discover("https://as.example").unwrap();
    let mut login = OAuth2Login::new(http, issuer, basic(), Grant::client_credentials());
    log_in_again(&mut login).await.unwrap();
    *moved.lock().unwrap() = true;
    log_in_again(&mut login).await.unwrap_err();
    log_in_again(&mut login).await.unwrap();
}
