//! The endpoints.

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
    config::seconds,
    tokens::{NoToken, Tokens},
};

const BODY_LIMIT: usize = 64 << 10;
const ORGANIZATION: &str = "00000000-0000-0000-0000-000000000001";

pub(super) async fn answer(request: Request<Incoming>, tokens: &Tokens) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let token = token(&head.headers, tokens);
    let answer = match (&head.method, head.uri.path()) {
        (&Method::POST, "/api/v3/login") => login(body, tokens).await,
        (&Method::GET, "/api/v3/users/me") => with(token, |_| user(tokens)),
        (&Method::GET, "/api/v3/users/me/auth_info") => with(token, |_| info(tokens)),
        (&Method::GET, "/api/v3/echo") => with(token, |number| json!({ "token": number })),
        (&Method::POST, "/control/revoke") => {
            tokens.revoke();
            send(Response::builder(), &json!({ "revoked": tokens.issued() }))
        }
        (&Method::POST, "/control/outage") => outage(head.uri.query(), tokens),
        _ => error(StatusCode::NOT_FOUND, "no such endpoint"),
    };
    answer.unwrap_or_else(|_| Response::default())
}

type Answer = Result<Response<Full<Bytes>>, http::Error>;

fn send(head: response::Builder, body: &Value) -> Answer {
    head.header(CONTENT_TYPE, "application/json").body(Full::from(body.to_string()))
}

fn error(status: StatusCode, why: &str) -> Answer {
    send(Response::builder().status(status), &json!({ "error": why }))
}

fn token(headers: &HeaderMap, tokens: &Tokens) -> Option<u64> {
    tokens.number(headers.get(AUTHORIZATION)?.to_str().ok()?)
}

fn with(token: Option<u64>, body: impl FnOnce(u64) -> Value) -> Answer {
    match token {
        Some(number) => send(Response::builder(), &body(number)),
        None => send(
            Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            &json!({ "error": "the token is missing, foreign, expired or revoked" }),
        ),
    }
}

async fn login(body: Incoming, tokens: &Tokens) -> Answer {
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "too large");
    };
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let field = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
    match tokens.issue(field("login"), field("password")) {
        Ok(token) => {
            let age = tokens.ttl().as_secs();
            let cookie = format!("Authorization={token}; Path=/; Max-Age={age}; HttpOnly");
            send(Response::builder().header(SET_COOKIE, cookie), &user(tokens))
        }
        Err(NoToken::WrongCredentials) => error(StatusCode::FORBIDDEN, "wrong credentials"),
        Err(NoToken::Unsigned(_)) => error(StatusCode::INTERNAL_SERVER_ERROR, "no signature"),
        Err(NoToken::Outage(left)) => send(
            Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).header(RETRY_AFTER, left.as_secs() + 1),
            &json!({ "error": "logins are down" }),
        ),
    }
}

fn outage(query: Option<&str>, tokens: &Tokens) -> Answer {
    let lasting = query.and_then(|query| query.strip_prefix("seconds=")).and_then(seconds);
    match lasting {
        Some(lasting) => {
            tokens.outage(lasting);
            send(Response::builder(), &json!({ "outage": lasting.as_secs() }))
        }
        None => error(StatusCode::BAD_REQUEST, "say ?seconds=N, a year at most"),
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
