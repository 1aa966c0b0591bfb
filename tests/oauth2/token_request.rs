//! The form of a token request, for each grant.

use std::time::Duration;

use serde_json::json;
use tower::{Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, Expiry, LoginError, LoginReason, LoginRequest,
    oauth2::{ClientAuthentication, Grant, OAuth2Login, SignedJwt, SigningKey},
    test_util::MockLogin,
};

use crate::support::{
    ENDPOINT, GRANTED, MockServer, authorization_server, basic, claims, log_in, oauth2_error,
    response,
};

#[tokio::test]
async fn client_credentials_request_follows_standard() {
    let server = MockServer::default();
    let grant = Grant::client_credentials()
        .scope("a b")
        .scope("c d")
        .audience("x")
        .resource("urn:1")
        .resource("urn:2");
    let grant = grant.parameter("tenant", "acme & co");
    let token = log_in(OAuth2Login::new(
        server.service(|_| response(200, GRANTED)),
        authorization_server(),
        basic(),
        grant,
    ))
    .await;
    let token = token.unwrap();
    assert_eq!(
        (token.header_value().to_str().unwrap(), token.expiry()),
        ("Bearer abc", Expiry::In(Duration::from_secs(3600)))
    );
    let request = server.last_request();
    assert_eq!(request.url, ENDPOINT);
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(request.headers["accept"], "application/json");
    assert_eq!(request.headers["authorization"], "Basic b3JkZXJzOnN3b3JkZmlzaA==");
    assert!(request.headers["authorization"].is_sensitive());
    let form = json!({
        "grant_type": ["client_credentials"], "scope": ["c d"], "audience": ["x"],
        "resource": ["urn:1", "urn:2"], "tenant": ["acme & co"],
    });
    assert_eq!(serde_json::to_value(request.form).unwrap(), form);
}

#[tokio::test]
async fn parameter_is_sent_once_except_audience_and_resource() {
    let server = MockServer::default();
    let grant = Grant::client_credentials()
        .parameter("grant_type", "urn:custom")
        .parameter("client_id", "other")
        .parameter("tenant", "one")
        .parameter("tenant", "two")
        .audience("a")
        .audience("b");
    let http = server.service(|_| response(200, GRANTED));
    log_in(OAuth2Login::new(
        http,
        authorization_server(),
        ClientAuthentication::public("orders"),
        grant,
    ))
    .await
    .unwrap();
    let form = json!({
        "grant_type": ["client_credentials"], "client_id": ["orders"], "tenant": ["two"], "audience": ["a", "b"],
    });
    assert_eq!(serde_json::to_value(server.last_request().form).unwrap(), form);
}

#[tokio::test]
#[expect(deprecated, reason = "some servers know nothing better")]
async fn password_is_sent_and_never_shown() {
    let server = MockServer::default();
    let http = server.service(|_| {
        response(400, r#"{"error":"invalid_grant","error_description":"not hunter2"}"#)
    });
    let grant = Grant::password("jo", "hunter2");
    assert!(!format!("{grant:?}").contains("hunter2"));
    let error =
        log_in(OAuth2Login::new(http, authorization_server(), basic(), grant)).await.unwrap_err();
    let request = server.last_request();
    assert_eq!(
        (
            request.parameter("grant_type"),
            request.parameter("username"),
            request.parameter("password")
        ),
        ("password", "jo", "hunter2")
    );
    assert!(
        oauth2_error(&error).is_invalid_grant() && !format!("{error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn token_exchange_calls_login_service_each_time() {
    let (server, logins) = (MockServer::default(), MockLogin::default());
    let subject =
        logins.service(|n| async move { Ok(AccessToken::bearer(format!("subject-{n}"))?) });
    let grant = Grant::token_exchange(subject)
        .parameter("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
    let mut login = OAuth2Login::new(
        server.service(|_| response(200, GRANTED)),
        authorization_server(),
        basic(),
        grant,
    );
    for n in 1..=2 {
        login.ready().await.unwrap().call(LoginRequest::new(LoginReason::First)).await.unwrap();
        let request = server.last_request();
        assert_eq!(
            request.parameter("grant_type"),
            "urn:ietf:params:oauth:grant-type:token-exchange"
        );
        assert_eq!(request.parameter("subject_token"), format!("subject-{n}"));
        assert_eq!(request.parameter("subject_token_type"), "urn:ietf:params:oauth:token-type:jwt");
    }
}

#[tokio::test]
async fn assertion_is_sent_and_its_failure_fails_the_login() {
    let server = MockServer::default();
    let assertion = SignedJwt::new(SigningKey::hs256("s"), "me", "jo", "you");
    let http = server.service(|_| response(200, GRANTED));
    log_in(OAuth2Login::new(
        http.clone(),
        authorization_server(),
        ClientAuthentication::public("x"),
        Grant::jwt_bearer(assertion),
    ))
    .await
    .unwrap();
    let request = server.last_request();
    assert_eq!(request.parameter("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(claims(request.parameter("assertion")).1["sub"], "jo");

    for permanent in [true, false] {
        let failing = service_fn(move |_: LoginRequest| async move {
            let error =
                if permanent { LoginError::permanent("no") } else { LoginError::transient("no") };
            Err::<AccessToken, _>(error.with_retry_after(Duration::from_secs(9)))
        });
        let login = OAuth2Login::new(
            http.clone(),
            authorization_server(),
            basic(),
            Grant::jwt_bearer(failing),
        );
        let error = log_in(login).await.unwrap_err();
        assert_eq!(
            (error.is_permanent(), error.retry_after()),
            (permanent, Some(Duration::from_secs(9)))
        );
    }
    assert_eq!(server.requests().len(), 1);
}
