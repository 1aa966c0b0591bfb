//! The endpoints of the server.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE},
    http::{self, response},
};
use serde_json::{Value, json};

use super::{
    config::parse_seconds,
    tokens::{LoginFailure, Tokens},
};

const BODY_LIMIT: usize = 64 << 10;
const ORGANIZATION: &str = "00000000-0000-0000-0000-000000000001";

pub(super) async fn handle(request: Request<Incoming>, tokens: &Tokens) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let token = verify(&head.headers, tokens);
    let response = match (&head.method, head.uri.path()) {
        (&Method::POST, "/api/v3/login") => login(body, tokens).await,
        (&Method::GET, "/api/v3/users/me") => authenticated(token, |_| user(tokens)),
        (&Method::GET, "/api/v3/users/me/auth_info") => authenticated(token, |_| info(tokens)),
        (&Method::GET, "/api/v3/echo") => authenticated(token, |number| json!({ "token": number })),
        (&Method::POST, "/control/revoke") => {
            tokens.revoke();
            respond(Response::builder(), &json!({ "revoked": tokens.issued() }))
        }
        (&Method::POST, "/control/outage") => outage(head.uri.query(), tokens),
        _ => error(StatusCode::NOT_FOUND, "unknown endpoint"),
    };
    response.unwrap_or_else(|_| Response::default())
}

type ApiResponse = Result<Response<Full<Bytes>>, http::Error>;

fn respond(head: response::Builder, body: &Value) -> ApiResponse {
    head.header(CONTENT_TYPE, "application/json").body(Full::from(body.to_string()))
}

fn error(status: StatusCode, message: &str) -> ApiResponse {
    respond(Response::builder().status(status), &json!({ "error": message }))
}

fn verify(headers: &HeaderMap, tokens: &Tokens) -> Option<u64> {
    tokens.verify(headers.get(AUTHORIZATION)?.to_str().ok()?)
}

fn authenticated(token: Option<u64>, body: impl FnOnce(u64) -> Value) -> ApiResponse {
    match token {
        Some(number) => respond(Response::builder(), &body(number)),
        None => respond(
            Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            &json!({ "error": "token is missing, unknown, expired or revoked" }),
        ),
    }
}

async fn login(body: Incoming, tokens: &Tokens) -> ApiResponse {
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "body is too large");
    };
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let field = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
    match tokens.issue(field("login"), field("password")) {
        Ok(token) => {
            let age = tokens.ttl().as_secs();
            let cookie = format!("Authorization={token}; Path=/; Max-Age={age}; HttpOnly");
            respond(Response::builder().header(SET_COOKIE, cookie), &user(tokens))
        }
        Err(LoginFailure::WrongCredentials) => {
            error(StatusCode::FORBIDDEN, "credentials are wrong")
        }
        Err(LoginFailure::Outage(left)) => respond(
            Response::builder()
                .status(StatusCode::SERVICE_UNAVAILABLE)
                .header(RETRY_AFTER, left.as_secs() + 1),
            &json!({ "error": "login is unavailable" }),
        ),
    }
}

fn outage(query: Option<&str>, tokens: &Tokens) -> ApiResponse {
    let duration = query.and_then(|query| query.strip_prefix("seconds=")).and_then(parse_seconds);
    match duration {
        Some(duration) => {
            tokens.outage(duration);
            respond(Response::builder(), &json!({ "outage": duration.as_secs() }))
        }
        None => {
            error(StatusCode::BAD_REQUEST, "seconds must be a number, at most a year: ?seconds=20")
        }
    }
}

fn user(tokens: &Tokens) -> Value {
    json!({
        "id": "00000000-0000-0000-0000-000000000002",
        "organization_id": ORGANIZATION,
        "organization_name": "Example",
        "email": tokens.login(),
        "username": null,
        "roles": ["User"],
    })
}

fn info(tokens: &Tokens) -> Value {
    json!({
        "organization_ids": [ORGANIZATION],
        "issuer": "arthur",
        "username": tokens.login(),
        "first_name": "Jo",
        "last_name": "Example",
        "email": tokens.login(),
        "roles": ["User"],
    })
}
