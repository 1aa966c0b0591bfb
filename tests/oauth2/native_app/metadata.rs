//! What the metadata names, and the issuer in a redirect.

use serde_json::{Value, json};
use tower_auth_refresh::{
    oauth2::{
        AuthorizationServer, ClientAuthentication, OAuth2Error,
        native_app::{AuthorizationCodeLogin, DeviceLogin},
    },
    transport::HttpService,
};

use super::authorization_code::answered;
use crate::support::{ENDPOINT, MockServer, response};

const ISSUER: &str = "https://as.example";

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "token_endpoint": ENDPOINT,
        "authorization_endpoint": "https://as.example/authorize",
        "device_authorization_endpoint": "https://as.example/device",
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

/// A server with this metadata, whose other endpoints grant everything.
fn server_with(server: &MockServer, metadata: Value) -> impl HttpService + use<> {
    let device = json!({
        "device_code": "d", "user_code": "U", "expires_in": 60,
        "verification_uri": "https://as.example/activate",
    });
    server.service(move |request| match &*request.url {
        "https://as.example/.well-known/oauth-authorization-server" => {
            response(200, metadata.to_string())
        }
        "https://as.example/device" | "https://as.example/other" => {
            response(200, device.to_string())
        }
        ENDPOINT => response(200, r#"{"access_token":"abc"}"#),
        _ => response(404, ""),
    })
}

fn client() -> ClientAuthentication {
    ClientAuthentication::public("orders-cli")
}

fn issuer() -> AuthorizationServer {
    AuthorizationServer::discover(ISSUER).unwrap()
}

fn in_browser(server: &MockServer, metadata: Value) -> AuthorizationCodeLogin<impl HttpService> {
    AuthorizationCodeLogin::new(server_with(server, metadata), issuer(), client())
}

fn on_device(server: &MockServer, metadata: Value) -> DeviceLogin<impl HttpService> {
    DeviceLogin::new(server_with(server, metadata), issuer(), client())
}

#[tokio::test]
async fn metadata_names_the_endpoints() {
    let server = MockServer::default();
    let request = in_browser(&server, metadata()).start().await.unwrap();
    assert!(request.url().starts_with("https://as.example/authorize?response_type=code"));
    answered(request, "code=c&state=STATE").await.1.unwrap();
    assert_eq!(server.last_request().url, ENDPOINT);
    let _ = on_device(&server, metadata()).start().await.unwrap();
    assert_eq!(server.last_request().url, "https://as.example/device");
}

#[tokio::test]
async fn endpoint_that_is_set_replaces_that_of_the_metadata() {
    let mut metadata = metadata();
    let fields = metadata.as_object_mut().unwrap();
    fields.remove("device_authorization_endpoint");
    fields.insert("authorization_endpoint".to_owned(), json!("file:///etc/passwd"));
    let (server, at) = (MockServer::default(), "https://as.example/other");
    let http = server_with(&server, metadata);
    let issuer = issuer();
    let issuer =
        issuer.authorization_endpoint(at).unwrap().device_authorization_endpoint(at).unwrap();
    let request = AuthorizationCodeLogin::new(http.clone(), issuer.clone(), client());
    assert!(request.start().await.unwrap().url().starts_with("https://as.example/other?"));
    assert!(DeviceLogin::new(http, issuer, client()).start().await.is_ok());
}

#[tokio::test]
async fn metadata_without_a_usable_endpoint_is_an_error() {
    for (name, value, cause) in [
        ("authorization_endpoint", json!(null), "authorization_endpoint is missing"),
        ("token_endpoint", json!(null), "token_endpoint is missing"),
        (
            "authorization_endpoint",
            json!("javascript:alert(1)"),
            "authorization_endpoint has neither the scheme https nor http",
        ),
        (
            "authorization_endpoint",
            json!("http://as.example/"),
            "authorization_endpoint is plain http to a host that is not the loopback",
        ),
        (
            "authorization_endpoint",
            json!("http://127.0.0.1/"),
            "authorization_endpoint is plain http, but the issuer is not",
        ),
        (
            "code_challenge_methods_supported",
            json!(["plain"]),
            "server does not support PKCE with S256",
        ),
        ("issuer", json!("https://evil.example"), "issuer does not match: https://evil.example"),
    ] {
        let mut metadata = metadata();
        metadata[name] = value;
        let error = in_browser(&MockServer::default(), metadata).start().await.unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
        assert_eq!(error.is_permanent(), name == "code_challenge_methods_supported", "{error}");
    }
    let mut metadata = metadata();
    metadata.as_object_mut().unwrap().remove("device_authorization_endpoint");
    let server = MockServer::default();
    let error = on_device(&server, metadata.clone()).start().await.unwrap_err();
    assert!(error.to_string().contains("device_authorization_endpoint is missing"), "{error}");
    assert!(in_browser(&server, metadata).start().await.is_ok(), "a browser does not require it");
}

#[tokio::test]
async fn server_that_lists_no_challenge_methods_is_accepted() {
    let mut metadata = metadata();
    metadata.as_object_mut().unwrap().remove("code_challenge_methods_supported");
    let request = in_browser(&MockServer::default(), metadata).start().await.unwrap();
    assert!(request.url().contains("code_challenge_method=S256"));
}

#[tokio::test]
async fn optional_metadata_of_another_type_is_ignored() {
    for (name, value) in [
        ("authorization_response_iss_parameter_supported", json!("false")),
        ("code_challenge_methods_supported", json!("S256")),
        ("code_challenge_methods_supported", json!({})),
    ] {
        let mut metadata = metadata();
        metadata[name] = value;
        let server = MockServer::default();
        assert!(on_device(&server, metadata.clone()).start().await.is_ok(), "{name}");
        assert!(redirected(metadata, "code=c&state=STATE").await.0.is_none(), "{name}");
    }
    // The endpoint of the other login.
    let mut metadata = metadata();
    metadata["device_authorization_endpoint"] = json!(7);
    assert!(in_browser(&MockServer::default(), metadata).start().await.is_ok());
}

/// Redirects with this query. Returns the error, and the number of token requests.
async fn redirected(metadata: Value, query: &str) -> (Option<OAuth2Error>, usize) {
    let server = MockServer::default();
    let request = in_browser(&server, metadata).start().await.unwrap();
    let error = answered(request, query).await.1.err();
    let token_requests = server.requests().iter().filter(|sent| sent.url == ENDPOINT).count();
    (error, token_requests)
}

#[tokio::test]
async fn code_of_another_issuer_is_not_sent() {
    for iss in [
        "iss=https%3A%2F%2Fevil.example",
        "iss=https%3A%2F%2Fas.example%2F",
        "iss=",
        "iss=https%3A%2F%2Fas.example&iss=https%3A%2F%2Fevil.example",
    ] {
        let query = format!("code=c&state=STATE&{iss}");
        let (error, token_requests) = redirected(metadata(), &query).await;
        let error = error.expect(iss);
        assert!(error.is_invalid_response(), "{iss}");
        assert_eq!(
            error.to_string(),
            "https://as.example/authorize: invalid redirect: iss is not the issuer"
        );
        assert_eq!(token_requests, 0, "{iss}");
    }
}

#[tokio::test]
async fn issuer_is_required_if_the_metadata_announces_it() {
    let mut announced = metadata();
    announced["authorization_response_iss_parameter_supported"] = json!(true);
    let own = "&iss=https%3A%2F%2Fas.example";
    let query = "code=c&state=STATE";
    for metadata in [metadata(), announced.clone()] {
        let (error, token_requests) = redirected(metadata, &format!("{query}{own}")).await;
        assert!(error.is_none() && token_requests == 1);
    }
    let (error, token_requests) = redirected(metadata(), query).await;
    assert!(error.is_none() && token_requests == 1);
    for query in [query, "error=access_denied&state=STATE"] {
        let (error, token_requests) = redirected(announced.clone(), query).await;
        assert!(error.unwrap().to_string().ends_with("invalid redirect: iss is missing"));
        assert_eq!(token_requests, 0);
    }
}
