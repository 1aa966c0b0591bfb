//! The fields of token responses, in JSON and in form encoding: no other field can hide the next refresh token.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use http::{
    Request, Response,
    header::{CONTENT_TYPE, HeaderValue},
};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Service, service_fn};
use tower_auth_refresh::{
    LoginReason, LoginRequest,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken},
};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

const NAMES: [&str; 11] = [
    "access_token",
    "token_type",
    "expires_in",
    "expires_at",
    "expires_on",
    "refresh_in",
    "refresh_expires_in",
    "error",
    "error_description",
    "id_token",
    "scope",
];
const VALUES: [&str; 14] = [
    "null",
    "true",
    "7",
    "-1",
    "1e999",
    "18446744073709551616",
    "[]",
    "{}",
    r#""""#,
    r#""Bearer""#,
    r#""3600s""#,
    r#""\ud800""#,
    r#"{"code":"invalid_grant"}"#,
    r#""eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjEwMDAsImV4cCI6NDYwMH0.c2ln""#,
];

fuzz_target!(|input: (bool, u8, Vec<(u8, u8, &str)>)| {
    let (form, position, others) = input;
    let fields = others.iter().map(|(name, value, text)| {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        let value = VALUES.get(usize::from(*value) % (VALUES.len() + 1));
        (
            name,
            value.map_or_else(
                || serde_json::to_string(text).expect("a string"),
                |value| (*value).to_owned(),
            ),
        )
    });
    let mut fields: Vec<_> = fields.collect();
    fields.insert(
        usize::from(position) % (fields.len() + 1),
        ("refresh_token", r#""r1""#.to_owned()),
    );
    let body = if form {
        // Without one of these, it is not a token response.
        fields.push(("access_token", r#""a""#.to_owned()));
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &fields {
            body.append_pair(name, value.trim_matches('"'));
        }
        body.finish()
    } else {
        format!(
            "{{{}}}",
            fields
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let sent = Arc::new(Mutex::new(Vec::new()));
    let record = sent.clone();
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::from(body.clone()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let record = record.clone();
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let token = form_urlencoded::parse(&body).find(|(name, _)| name == "refresh_token");
            record.lock().expect("no panic").push(token.expect("a refresh token").1.into_owned());
            Ok::<_, BoxError>(response)
        }
    });
    let server = AuthorizationServer::token_endpoint("https://as.example/token").expect("a URL");
    let grant = Grant::refresh_token(RefreshToken::new("r0"));
    let mut login = OAuth2Login::new(http, server, ClientAuthentication::public("orders"), grant);
    RUNTIME.block_on(async {
        for _ in 0..2 {
            let _ = login.call(LoginRequest::new(LoginReason::First)).await;
        }
    });
    let sent = sent.lock().expect("no panic");
    // A rejected token is loaded and sent again by the same login.
    assert_eq!(sent.first().map(String::as_str), Some("r0"));
    assert!(sent[1..].iter().all(|token| token == "r1") && sent.len() > 1, "{sent:?}");
});
