//! The reader of token responses: no input makes it panic, a token can be sent, and no error shows a secret.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use http::{
    Request, Response,
    header::{CONTENT_TYPE, DATE, HeaderValue},
};
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

const SECRET: &str = "a-secret-to-look-for";
const CONTENT_TYPES: [&str; 3] =
    ["application/json", "application/x-www-form-urlencoded", "text/plain"];

fuzz_target!(|input: (u8, bool, bool, &[u8])| {
    let (kind, dated, id_token, body) = input;
    let mut response = Response::new(Full::<Bytes>::from(body.to_vec()));
    *response.status_mut() = [200, 400, 503][usize::from(kind) % 3].try_into().expect("a status");
    if let Some(content_type) = CONTENT_TYPES.get(usize::from(kind) / 3 % 4) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if dated {
        response
            .headers_mut()
            .insert(DATE, HeaderValue::from_static("Fri, 15 Jan 2027 08:00:00 GMT"));
    }
    let success = response.status().is_success();
    let http = service_fn(move |_: Request<Full<Bytes>>| {
        let response = response.clone();
        async move { Ok::<_, BoxError>(response) }
    });
    let server = AuthorizationServer::token_endpoint("https://as.example/token").expect("a URL");
    let client = ClientAuthentication::client_secret_post("orders", SECRET);
    let login =
        OAuth2Login::new(http, server, client, Grant::client_credentials()).use_id_token(id_token);
    let login = login.inspect_response(|fields| {
        assert!(
            ["access_token", "refresh_token", "id_token"]
                .iter()
                .all(|token| !fields.contains_key(*token))
        );
    });
    match RUNTIME.block_on(login.oneshot(LoginRequest::new(LoginReason::First))) {
        Ok(token) => {
            assert!(success);
            assert!(
                !token.secret().is_empty()
                    && token.secret().bytes().all(|byte| byte.is_ascii_graphic())
            );
            assert_eq!(token.header_value(), &format!("Bearer {}", token.secret()));
        }
        Err(error) => assert!(!format!("{error} {error:?}").contains(SECRET)),
    }
});
