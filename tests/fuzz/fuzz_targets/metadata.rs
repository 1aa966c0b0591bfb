//! The reader of an issuer's metadata: no input makes it panic or sends a secret to plain http.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, ServiceExt, service_fn};
use tower_auth_refresh::{
    LoginReason, LoginRequest,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

fuzz_target!(|input: (bool, &[u8])| {
    let (whole, text) = input;
    let body = match (whole, std::str::from_utf8(text)) {
        (false, Ok(endpoint)) => {
            let endpoint = serde_json::to_string(endpoint).expect("a string");
            format!(r#"{{"issuer":"https://as.example","token_endpoint":{endpoint}}}"#).into_bytes()
        }
        _ => text.to_vec(),
    };
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        if request.method() == Method::POST {
            assert_eq!(request.uri().scheme_str(), Some("https"), "{}", request.uri());
            assert!(request.uri().host().is_some_and(|host| !host.is_empty()));
        }
        let response = Response::new(Full::<Bytes>::from(body.clone()));
        async move { Ok::<_, BoxError>(response) }
    });
    let server = AuthorizationServer::discover("https://as.example").expect("a URL");
    let client = ClientAuthentication::client_secret_basic("orders", "a-secret-to-look-for");
    let login = OAuth2Login::new(http, server, client, Grant::client_credentials());
    if let Err(error) = RUNTIME.block_on(login.oneshot(LoginRequest::new(LoginReason::First))) {
        assert!(!format!("{error} {error:?}").contains("a-secret-to-look-for"));
    }
});
