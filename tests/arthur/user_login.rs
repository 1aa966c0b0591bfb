//! `UserLogin`, against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::*;
use http::{Method, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;
use tower_auth_refresh::{
    AccessToken, Clock, Expiry, LoginError, LoginReason, LoginRequest,
    arthur::{ArthurError, ArthurLogin, UserLogin},
    transport::TransportConfig,
};

async fn token_of(cookies: &'static [&'static str]) -> Result<String, ArthurError> {
    let server = Script::start(|_| crate::support::cookies(cookies)).await;
    let login = log_in(api(&server.url())).await?;
    Ok(login.token.header_value().to_str().unwrap().to_owned())
}

async fn login_error(response: fn() -> Response<Body>) -> ArthurError {
    let server = Script::start(move |_| response()).await;
    failed_login(api(&server.url())).await
}

async fn login_service(response: fn() -> Response<Body>) -> Result<AccessToken, LoginError> {
    let server = Script::start(move |_| response()).await;
    ArthurLogin::new(UserLogin::new(api(&server.url())), credentials())
        .oneshot(LoginRequest::new(LoginReason::First))
        .await
}

#[tokio::test]
async fn login_posts_credentials_as_json() {
    let server = Script::start(|_| cookies(&["Authorization=a.b.c; HttpOnly"])).await;
    let login = log_in(api(&server.url())).await.unwrap();

    assert_eq!(login.token.header_value(), "a.b.c");
    assert!(login.token.header_value().is_sensitive());
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, Method::POST);
    assert_eq!(seen[0].path, "/api/v3/login");
    assert_eq!(seen[0].headers["content-type"], "application/json");
    assert_eq!(seen[0].headers.get("authorization"), None);
    assert_eq!(
        serde_json::from_slice::<Value>(&seen[0].body).unwrap(),
        json!({"login": LOGIN, "password": PASSWORD})
    );
}

#[tokio::test]
async fn login_with_401_or_403_has_wrong_credentials() {
    for response in [|| status(401, "no"), || status(403, "no")] as [fn() -> Response<Body>; 2] {
        let error = login_error(response).await;
        assert!(error.is_wrong_credentials());
        assert!(error.to_string().contains("wrong credentials"), "{error}");

        let error = login_service(response).await.unwrap_err();
        assert!(error.is_permanent());
        assert!(error.cause::<ArthurError>().unwrap().is_wrong_credentials());
    }
}

#[tokio::test]
async fn overloaded_server_is_transient_with_retry_after() {
    for code in [429, 502, 503, 504] {
        let server = Script::start(move |_| {
            let mut response = status(code, "");
            response.headers_mut().insert("retry-after", "17".parse().unwrap());
            response
        })
        .await;
        let error = failed_login(api(&server.url())).await;
        assert_eq!(error.status().unwrap(), code);
        assert!(!error.is_wrong_credentials());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
        let error = LoginError::from(error);
        assert!(!error.is_permanent());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
    }
}

#[tokio::test]
async fn retry_after_date_is_relative_to_server_clock() {
    let error = login_service(|| {
        let mut response = status(503, "");
        let headers = response.headers_mut();
        headers.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        headers.insert("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT".parse().unwrap());
        response
    })
    .await
    .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn other_status_shows_a_bounded_part_of_the_body() {
    for code in [400, 404, 405, 422, 451, 500, 501, 520, 599, 999] {
        let server = Script::start(move |_| {
            let body = format!("line\r\n\u{1b}[31m\u{202e}{}", "x".repeat(5000));
            let mut response = Response::new(full(body));
            *response.status_mut() = code.try_into().unwrap();
            response
        })
        .await;
        let error = failed_login(api(&server.url())).await;
        assert_eq!(error.status().unwrap(), code);
        assert!(!error.is_wrong_credentials());
        let shown = error.to_string();
        assert!(shown.contains(&code.to_string()), "{shown}");
        assert!(shown.contains("line\\r\\n"), "{shown}");
        assert!(shown.contains("xxx"), "{shown}");
        assert!(!shown.contains(char::is_control), "{shown}");
        assert!(!shown.contains('\u{202e}'), "{shown}");
        assert!(shown.chars().count() < 350, "{shown}");
    }
}

#[tokio::test]
async fn status_counts_if_the_body_is_too_large() {
    let server = Script::start(|_| status(500, "far more than four bytes")).await;
    let error =
        failed_login(api(&server.url()).transport_config(TransportConfig::new().body_limit(4)))
            .await;
    assert_eq!(error.status().unwrap(), 500);
}

#[tokio::test]
async fn any_2xx_with_cookie_is_login_with_any_body() {
    for code in [200, 201, 202, 204] {
        for body in ["", "<html>welcome</html>", "[1]", "{}", "{\"email\":\"no id\"}", "\"x\""] {
            let server = Script::start(move |_| {
                let mut response = status(code, if code == 204 { "" } else { body });
                response.headers_mut().insert("set-cookie", "Authorization=a.b.c".parse().unwrap());
                response
            })
            .await;
            let login = log_in(api(&server.url())).await.unwrap();
            assert_eq!(login.token.header_value(), "a.b.c", "{code} {body}");
            assert_eq!(login.user, None, "{code} {body}");
        }
    }
}

#[tokio::test]
async fn body_contains_the_user() {
    let server = Script::start(|_| {
        let mut response = cookies(&["Authorization=a.b.c"]);
        *response.body_mut() =
            full(r#"{"id":"7","email":"jo@example.com","first_name":null,"roles":["User"],"new":{"x":1}}"#);
        response
    })
    .await;
    let user = log_in(api(&server.url())).await.unwrap().user.unwrap();
    assert_eq!(user.id, "7");
    assert_eq!(user.email, "jo@example.com");
    assert_eq!(user.first_name, None);
    assert_eq!(user.last_name, None);
    assert_eq!(user.roles.unwrap(), ["User"]);
}

#[tokio::test]
async fn missing_empty_or_expired_cookie_has_no_token() {
    for cookies in [
        &[] as &[&str],
        &["session=a.b.c"],
        &["Authorization="],
        &["Authorization=\"\""],
        &["Authorization=Bearer "],
        &["Authorization=a.b.c; Max-Age=0"],
        &["Authorization=a.b.c; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
    ] {
        let error = token_of(cookies).await.unwrap_err();
        assert!(error.is_missing_token(), "{cookies:?}");
        assert!(error.to_string().contains("lacks a token"), "{error}");
        assert!(!LoginError::from(error).is_permanent());
    }
}

#[tokio::test]
async fn cookie_value_is_unquoted_and_trimmed() {
    for cookies in [
        &["Authorization=\"a.b.c\""] as &[&str],
        &["Authorization=Bearer a.b.c"],
        &["Authorization=\"Bearer a.b.c\"; HttpOnly"],
        &["Authorization=   a.b.c   ; Secure"],
        &["one=1", "Authorization=a.b.c; SameSite=Strict", "two=2"],
        &["Authorization=a.b.c; Expires=Fri, 31 Dec 9999 23:59:59 GMT; Secure; SameSite=Lax"],
        &["Authorization=a.b.c; Max-Age=1; Domain=localhost; Path=/"],
    ] {
        assert_eq!(token_of(cookies).await.unwrap(), "a.b.c", "{cookies:?}");
    }
}

#[tokio::test]
async fn last_of_two_cookies_counts() {
    let cookies = &["Authorization=old", "Authorization=new"];
    assert_eq!(token_of(cookies).await.unwrap(), "new");
}

#[tokio::test]
async fn invalid_token_is_an_error_that_names_the_cause() {
    // hyper does not send an invalid header, so the response is written by hand.
    let (addr, _task) = listen(|mut stream| async move {
        read_request(&mut stream).await;
        let response = b"HTTP/1.1 200 OK\r\nSet-Cookie: Authorization=s3cr3t\xe9x; Path=/\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(response).await.unwrap();
        read_request(&mut stream).await;
    })
    .await;
    let error = failed_login(api(&format!("http://{addr}"))).await;
    assert!(error.is_invalid_token());
    assert!(error.to_string().contains("position 6"), "{error}");
    assert_hidden(&error, "s3cr3t");
}

#[tokio::test]
async fn password_repeated_by_server_is_redacted() {
    let server = Script::start(|seen| {
        let mut body = seen.body.to_vec();
        body.extend(PASSWORD.as_bytes());
        body.extend(format!("{PASSWORD:?}").as_bytes());
        let mut response = Response::new(full(body));
        *response.status_mut() = 500.try_into().unwrap();
        response
    })
    .await;
    let error = failed_login(api(&server.url())).await;
    assert!(error.to_string().contains("[redacted]"), "{error}");
    assert!(error.to_string().contains(LOGIN), "{error}");
    assert_hidden(&LoginError::from(error), PASSWORD);
}

#[tokio::test]
async fn password_at_the_limit_of_the_text_is_redacted() {
    for padding in 185..205 {
        let server = Script::start(move |_| {
            let mut response = Response::new(full("x".repeat(padding) + PASSWORD));
            *response.status_mut() = 500.try_into().unwrap();
            response
        })
        .await;
        let error = failed_login(api(&server.url())).await;
        assert!(!error.to_string().contains("sw0"), "{error}");
    }
}

#[test]
fn debug_of_credentials_shows_no_password() {
    let shown = format!("{:?} {:#?}", credentials(), credentials());
    assert!(shown.contains(LOGIN));
    assert!(!shown.contains("sw0rd"));
}

/// The local clock of these tests.
const NOW: u64 = 1_700_000_000;

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }
}

async fn expiry(claims: Value, date: Option<u64>) -> Expiry {
    let key = jsonwebtoken::EncodingKey::from_secret(b"key");
    let jwt = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    expiry_of(jwt, date).await
}

async fn expiry_of(token: String, date: Option<u64>) -> Expiry {
    let server = Script::start(move |_| {
        let mut response = cookies(&[&format!("Authorization={token}")]);
        if let Some(date) = date {
            let date = UNIX_EPOCH + Duration::from_secs(date);
            let date = httpdate::fmt_http_date(date).parse().unwrap();
            response.headers_mut().insert("date", date);
        }
        response
    })
    .await;
    let login = log_in(api(&server.url()).transport_config(TransportConfig::new().clock(Stopped)))
        .await
        .unwrap();
    login.token.expiry()
}

#[tokio::test]
async fn token_without_exp_has_unknown_expiry() {
    assert_eq!(expiry(json!({"iat": NOW}), None).await, Expiry::Unknown);
}

#[tokio::test]
async fn invalid_exp_is_unknown_expiry() {
    let milliseconds = (NOW + 3600) * 1000;
    for exp in [json!(null), json!("1700003600"), json!(true), json!(-5), json!([]), json!(1e30)] {
        assert_eq!(expiry(json!({"exp": exp}), Some(NOW)).await, Expiry::Unknown, "{exp}");
    }
    assert_eq!(expiry(json!({"exp": milliseconds}), None).await, Expiry::Unknown);
}

#[tokio::test]
async fn valid_exp_is_used() {
    let at = |seconds| Expiry::At(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(expiry(json!({"exp": NOW + 3600}), None).await, at(NOW + 3600));
    let year_9999 = 253_402_300_799_u64;
    assert_eq!(expiry(json!({"exp": year_9999}), None).await, at(year_9999));
    let float = 1_700_003_600.9;
    assert_eq!(expiry(json!({"exp": float}), None).await, at(NOW + 3600));
}

#[tokio::test]
async fn exp_is_compared_with_date_of_response() {
    let left = |seconds| Expiry::In(Duration::from_secs(seconds));
    let claims = json!({"iat": NOW + 500, "exp": NOW + 600});
    // Minus one second, because the header omits fractions.
    assert_eq!(expiry(claims.clone(), Some(NOW + 500)).await, left(99));
    assert_eq!(expiry(json!({"exp": NOW + 600}), Some(NOW + 700)).await, left(0));
}

#[tokio::test]
async fn exp_in_the_past_counts_from_iat() {
    let claims = json!({"iat": NOW - 600, "exp": NOW - 300});
    assert_eq!(expiry(claims, None).await, Expiry::In(Duration::from_secs(300)));
}

#[tokio::test]
async fn opaque_token_has_unknown_expiry() {
    for token in ["0a1b2c3d", "a.b", "a.b.c", "..", "a.b.c.d"] {
        assert_eq!(expiry_of(token.to_owned(), Some(NOW)).await, Expiry::Unknown);
    }
}

#[cfg(feature = "arthur-jwt-verify")]
mod signature {
    use super::*;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use tower_auth_refresh::arthur::VerificationKey;

    async fn login(
        token: String,
        key: VerificationKey,
    ) -> Result<tower_auth_refresh::arthur::LoggedIn, ArthurError> {
        let server = Script::start(move |_| cookies(&[&format!("Authorization={token}")])).await;
        UserLogin::new(api(&server.url())).verify_with(key).oneshot(credentials()).await
    }

    fn signed(algorithm: Algorithm, secret: &str) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        // It has expired, which the key does not check.
        jsonwebtoken::encode(&Header::new(algorithm), &json!({"exp": 1}), &key).unwrap()
    }

    #[tokio::test]
    async fn token_with_valid_signature_is_accepted() {
        let token = signed(Algorithm::HS256, "key");
        let login = login(token.clone(), VerificationKey::hs256("key")).await.unwrap();
        assert_eq!(login.token.secret(), token);
        let token = signed(Algorithm::HS384, "key");
        super::signature::login(token, VerificationKey::hs384("key")).await.unwrap();
        let token = signed(Algorithm::HS512, "key");
        super::signature::login(token, VerificationKey::hs512("key")).await.unwrap();
    }

    #[tokio::test]
    async fn token_with_wrong_signature_is_rejected() {
        let good = signed(Algorithm::HS256, "key");
        let (head, tail) = good.split_at(good.len() - 8);
        let unsigned = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9."; // {"alg":"none"}
        for token in [
            signed(Algorithm::HS256, "another key"),
            signed(Algorithm::HS512, "key"),
            format!("{head}AAAA{}", &tail[4..]),
            head.to_owned(),
            good.get(..good.len() - 4).unwrap().to_owned(),
            format!("{good}."),
            unsigned.to_owned(),
            "opaque".to_owned(),
            "a.b.c".to_owned(),
        ] {
            let error = login(token.clone(), VerificationKey::hs256("key")).await.unwrap_err();
            assert!(error.is_invalid_token(), "{token}");
            assert!(error.to_string().contains("invalid login response"), "{error}");
            assert_hidden(&error, &token);
            assert!(!LoginError::from(error).is_permanent());
        }
    }

    #[tokio::test]
    async fn a_token_that_names_another_algorithm_than_the_keys_is_a_failed_login() {
        let of_512 = signed(Algorithm::HS512, "key");
        let (message, _) = of_512.rsplit_once('.').unwrap();
        let key = EncodingKey::from_secret(b"key");
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        let token = format!("{message}.{signature}");
        let error = login(token, VerificationKey::hs256("key")).await.unwrap_err();
        assert!(error.to_string().contains("another algorithm"), "{error}");
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert!(!format!("{:?}", VerificationKey::hs256("k3y")).contains("k3y"));
    }
}
