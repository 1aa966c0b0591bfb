//! From the login of a person to logins without one.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tower_auth_refresh::{
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken,
        RefreshTokenStore, StoreFuture,
        native_app::{DeviceLogin, Tokens},
    },
    transport::TransportConfig,
};

use crate::support::{
    ENDPOINT, MockServer, Store, authorization_server, log_in, oauth2_error, response,
    rotating_server,
};

/// Logs in at a server that returns this token response.
async fn tokens(body: &'static str) -> Tokens {
    let device = json!({
        "device_code": "d", "user_code": "U", "expires_in": 60,
        "verification_uri": "https://as.example/activate",
    });
    let http = MockServer::default().service(move |request| match &*request.url {
        ENDPOINT => response(200, body),
        _ => response(200, device.to_string()),
    });
    let server = AuthorizationServer::token_endpoint(ENDPOINT).unwrap();
    let server = server.device_authorization_endpoint("https://as.example/device").unwrap();
    let login = DeviceLogin::new(http, server, ClientAuthentication::public("orders-cli"));
    let login = login.transport_config(TransportConfig::new().timeout(Duration::from_secs(3)));
    login.start().await.unwrap().wait().await.unwrap()
}

fn empty_store() -> Store {
    Store { token: Arc::default(), ..Store::with("") }
}

#[tokio::test(start_paused = true)]
async fn saved_refresh_token_is_used_by_later_logins() {
    let store = empty_store();
    let tokens = tokens(r#"{"access_token":"abc","refresh_token":"r0"}"#).await;
    tokens.save_to(&store).await.unwrap();
    let server = MockServer::default();
    let grant = Grant::refresh_token_store(store.clone());
    let client = ClientAuthentication::public("orders-cli");
    let login = OAuth2Login::new(rotating_server(&server), authorization_server(), client, grant);
    assert_eq!(log_in(login).await.unwrap().secret(), "a1");
    assert_eq!(store.has(), "r1");
    let request = server.last_request();
    assert_eq!(request.parameter("grant_type"), "refresh_token");
    assert_eq!(request.parameter("client_id"), "orders-cli");
}

#[tokio::test(start_paused = true)]
async fn login_without_a_saved_token_requires_a_person() {
    let server = MockServer::default();
    let grant = Grant::refresh_token_store(empty_store());
    let client = ClientAuthentication::public("orders-cli");
    let login = OAuth2Login::new(rotating_server(&server), authorization_server(), client, grant);
    let error = log_in(login).await.unwrap_err();
    assert!(error.is_permanent() && oauth2_error(&error).is_login_required());
    assert_eq!(
        oauth2_error(&error).to_string(),
        "grant_type refresh_token: refresh token missing: login required"
    );
    assert!(server.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn login_with_a_revoked_token_requires_a_person() {
    for (status, body, required) in [
        (400, r#"{"error":"invalid_grant"}"#, true),
        (400, r#"{"error":"invalid_scope"}"#, false),
        (503, "", false),
    ] {
        let http = MockServer::default().service(move |_| response(status, body));
        let grant = Grant::refresh_token_store(Store::with("r0"));
        let client = ClientAuthentication::public("orders-cli");
        let error = log_in(OAuth2Login::new(http, authorization_server(), client, grant))
            .await
            .unwrap_err();
        assert_eq!(oauth2_error(&error).is_login_required(), required, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_that_requires_a_person_is_permanent() {
    for code in ["interaction_required", "login_required", "consent_required"] {
        let body = json!({ "error": code }).to_string();
        let http = MockServer::default().service(move |_| response(400, body.clone()));
        let grant = Grant::refresh_token_store(Store::with("r0"));
        let client = ClientAuthentication::public("orders-cli");
        let error = log_in(OAuth2Login::new(http, authorization_server(), client, grant))
            .await
            .unwrap_err();
        assert!(oauth2_error(&error).is_login_required() && error.is_permanent(), "{error}");
        assert!(!oauth2_error(&error).is_invalid_grant());
    }
}

#[tokio::test(start_paused = true)]
async fn save_replaces_the_token_of_an_earlier_login() {
    let store = Store::with("old");
    let tokens = tokens(r#"{"access_token":"abc","refresh_token":"r0"}"#).await;
    tokens.save_to(&store).await.unwrap();
    assert_eq!(store.has(), "r0");
}

#[tokio::test(start_paused = true)]
async fn save_without_refresh_token_names_the_scope() {
    for body in [r#"{"access_token":"abc"}"#, r#"{"access_token":"abc","refresh_token":""}"#] {
        let (store, tokens) = (Store::with("old"), tokens(body).await);
        assert!(tokens.refresh_token().is_none());
        let error = tokens.save_to(&store).await.unwrap_err();
        assert!(error.is_permanent());
        assert_eq!(
            error.to_string(),
            "grant_type refresh_token: refresh token missing in the token response \
             (the server may require the scope offline_access, prompt=consent or access_type=offline)"
        );
        assert_eq!(store.has(), "old", "the store is unchanged");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_save_is_reported() {
    let tokens = tokens(r#"{"access_token":"abc","refresh_token":"r0"}"#).await;
    let store = empty_store();
    *store.works.lock().unwrap() = false;
    let error = tokens.save_to(&store).await.unwrap_err();
    assert_eq!(error.to_string(), "grant_type refresh_token: refresh token store failed");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the disk is full");
}

/// Never responds.
struct Hanging;

impl RefreshTokenStore for Hanging {
    fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
        Box::pin(std::future::pending())
    }

    fn save(&self, _: RefreshToken) -> StoreFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn save_ends_at_the_time_limit() {
    let tokens = tokens(r#"{"access_token":"abc","refresh_token":"r0"}"#).await;
    let before = tokio::time::Instant::now();
    assert!(tokens.save_to(&Hanging).await.is_err());
    assert_eq!(before.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn access_token_has_the_lifetime_of_the_response() {
    use tower_auth_refresh::Expiry;

    let tokens = tokens(r#"{"access_token":"abc","expires_in":600}"#).await;
    assert_eq!(tokens.access_token().expiry(), Expiry::In(Duration::from_secs(600)));
    assert_eq!(tokens.access_token().header_value(), "Bearer abc");
}

#[tokio::test(start_paused = true)]
async fn lifetime_counts_from_the_token_request() {
    use std::time::SystemTime;

    use tower_auth_refresh::{AuthRefresher, Expiry, LoginRequest};

    let tokens = tokens(r#"{"access_token":"abc","expires_in":600}"#).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let login = tower::service_fn(|_: LoginRequest| {
        std::future::pending::<Result<tower_auth_refresh::AccessToken, tower::BoxError>>()
    });
    let builder = AuthRefresher::builder(login).initial_token(tokens.access_token().clone());
    let refresher = builder.build().unwrap();
    let Some(Expiry::At(expires)) = refresher.status().expires else { panic!("no expiry") };
    assert!(expires <= SystemTime::now() + Duration::from_secs(540));
}
