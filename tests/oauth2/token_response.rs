//! What is read from a token response.

use std::{
    convert::Infallible,
    error::Error,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use proptest::prelude::*;
use serde_json::json;
use tower::service_fn;
use tower_auth_refresh::{
    AccessToken, Expiry,
    oauth2::{Grant, OAuth2Login, RefreshToken},
};

use crate::support::{
    GRANTED, MockServer, authorization_server, basic, log_in, log_in_again, login_with_response,
    oauth2_error, response,
};

/// The claims are `{"iat":1000,"exp":4600}`. The token looks expired, so its lifetime counts.
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjEwMDAsImV4cCI6NDYwMH0.c2ln";

#[tokio::test]
async fn invalid_token_response_is_typed_error() {
    for body in [
        "",
        "<html>welcome to the hotel</html>",
        "null",
        "[]",
        "{}",
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":7,"token_type":"Bearer"}"#,
        r#"{"access_token":"abc","token_type":7}"#,
        r#"{"access_token":"a\nb","token_type":"Bearer"}"#,
        r#"{"access_token":"","token_type":"Bearer"}"#,
        r#"{"access_token":"abc","token_type":"Bearer""#,
        "\u{feff}{}",
    ] {
        let error = login_with_response(response(200, body)).await.unwrap_err();
        assert!(
            oauth2_error(&error).is_invalid_response() && !error.is_permanent(),
            "{body}: {error:?}"
        );
    }
}

async fn token(body: impl Into<String>) -> AccessToken {
    login_with_response(response(200, body)).await.unwrap()
}

fn secs(seconds: u64) -> Expiry {
    Expiry::In(Duration::from_secs(seconds))
}

#[tokio::test]
async fn token_type_is_bearer_or_accepted_by_setting() {
    for token_type in ["", " ", "Bearer", " bearer ", "BEARER"] {
        let body = json!({"access_token": "abc", "token_type": token_type}).to_string();
        assert_eq!(token(body).await.header_value(), "Bearer abc", "{token_type:?}");
    }
    for token_type in ["BearerToken", "DPoP", "N_A"] {
        let body = json!({"access_token": "abc", "token_type": token_type}).to_string();
        let error = login_with_response(response(200, &*body)).await.unwrap_err();
        assert!(oauth2_error(&error).is_invalid_response() && !error.is_permanent(), "{error:?}");
        assert!(error.source().unwrap().to_string().contains(token_type), "{error:?}");

        let http = MockServer::default().service(move |_| response(200, &*body));
        let login =
            OAuth2Login::new(http, authorization_server(), basic(), Grant::client_credentials());
        let login = login.accept_token_type(token_type.to_lowercase());
        assert_eq!(log_in(login).await.unwrap().header_value(), "Bearer abc");
    }
}

#[tokio::test]
async fn invalid_lifetime_is_unknown_expiry() {
    for value in [json!(""), json!("3600s"), json!("soon"), json!(true), json!([1]), json!({})] {
        let body = json!({"access_token": "abc", "expires_in": value}).to_string();
        assert_eq!(token(body).await.expiry(), Expiry::Unknown, "{value}");
        let body = json!({"access_token": JWT, "expires_in": value}).to_string();
        assert_eq!(token(body).await.expiry(), secs(3600), "{value}");
    }
    for value in [
        json!(""),
        json!("2027-01-15T08:00:00Z"),
        json!(1_800_000_000_000_u64),
        json!(0),
        json!(-1),
    ] {
        let body = json!({"access_token": "abc", "expires_at": value}).to_string();
        assert_eq!(token(body).await.expiry(), Expiry::Unknown, "{value}");
    }
}

#[tokio::test]
async fn absolute_expiry_is_read_by_the_servers_clock() {
    for name in ["expires_at", "expires_on"] {
        for value in [json!(1_800_000_600), json!("1800000600")] {
            let body = |expires_in| {
                json!({"access_token": "abc", name: value, "expires_in": expires_in}).to_string()
            };
            let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_600);
            assert_eq!(token(body(json!(null))).await.expiry(), Expiry::At(expires));
            assert_eq!(dated(body(json!(null))).await.expiry(), secs(600));
            assert_eq!(dated(body(json!(60))).await.expiry(), secs(60), "expires_in comes first");
        }
    }
}

/// Logs in at a server whose `Date` is 1,800,000,000.
async fn dated(body: impl Into<String>) -> AccessToken {
    let mut response = response(200, body);
    response.headers_mut().insert("date", "Fri, 15 Jan 2027 08:00:00 GMT".parse().unwrap());
    login_with_response(response).await.unwrap()
}

fn jwt(issued: u64, expires: u64) -> String {
    let claims = URL_SAFE_NO_PAD.encode(json!({"iat": issued, "exp": expires}).to_string());
    format!("eyJhbGciOiJIUzI1NiJ9.{claims}.c2ln")
}

#[tokio::test]
async fn cached_response_does_not_extend_the_lifetime() {
    for (left, expires_in, expiry) in [(60, 3600, 59), (3600, 60, 60), (3600, 3600, 3599)] {
        let jwt = jwt(1_800_000_000 + left - 3600, 1_800_000_000 + left);
        let body = json!({"access_token": jwt, "expires_in": expires_in}).to_string();
        assert_eq!(dated(&*body).await.expiry(), secs(expiry), "{left} {expires_in}");
        assert_eq!(
            token(body).await.expiry(),
            secs(expires_in),
            "without a Date, the local clock could be wrong"
        );
    }
}

#[tokio::test]
async fn id_token_is_used_where_requested() {
    let id_token = jwt(1_799_999_000, 1_800_000_500);
    let body =
        json!({"access_token": 7, "token_type": "N_A", "expires_in": 3600, "id_token": id_token})
            .to_string();
    let http = MockServer::default().service(move |_| {
        let mut response = response(200, &*body);
        response.headers_mut().insert("date", "Fri, 15 Jan 2027 08:00:00 GMT".parse().unwrap());
        response
    });
    let login = || {
        OAuth2Login::new(http.clone(), authorization_server(), basic(), Grant::client_credentials())
    };
    let token = log_in(login().use_id_token(true)).await.unwrap();
    assert_eq!((token.secret(), token.expiry()), (&*id_token, secs(499)));
    assert!(oauth2_error(&log_in(login()).await.unwrap_err()).is_invalid_response());

    let http = MockServer::default().service(|_| response(200, GRANTED));
    let login =
        OAuth2Login::new(http, authorization_server(), basic(), Grant::client_credentials());
    let error = log_in(login.use_id_token(true)).await.unwrap_err();
    assert!(format!("{error:?}").contains("id_token is missing"), "{error:?}");
}

#[tokio::test]
async fn form_encoded_response_is_read() {
    for (content_type, body, is_read) in [
        (
            Some("application/x-www-form-urlencoded; charset=utf-8"),
            "access_token=a%2Bc&scope=x&expires_in=60",
            true,
        ),
        (Some("text/plain"), "access_token=a%2Bc&expires_in=60", true),
        (None, "expires_in=60&access_token=a%2Bc", true),
        (Some("text/html"), "access_token=a%2Bc&expires_in=60", false),
        (None, "token=a%2Bc&expires_in=60", false),
    ] {
        let mut response = response(200, body);
        if let Some(content_type) = content_type {
            response.headers_mut().insert("content-type", content_type.parse().unwrap());
        }
        match login_with_response(response).await {
            Ok(token) => {
                assert!(is_read && token.secret() == "a+c" && token.expiry() == secs(60), "{body}")
            }
            Err(error) => {
                assert!(!is_read && oauth2_error(&error).is_invalid_response(), "{body}: {error:?}")
            }
        }
    }
    let body = "error=bad_verification_code&error_description=it+is+swordfish";
    let error = login_with_response(response(200, body)).await.unwrap_err();
    assert_eq!(oauth2_error(&error).code(), Some("bad_verification_code"));
    assert!(oauth2_error(&error).to_string().ends_with("it is [redacted]"), "{error:?}");
}

#[tokio::test]
async fn byte_order_mark_and_trailing_bytes_are_skipped() {
    for body in
        [format!("\u{feff}{GRANTED}"), format!("{GRANTED}\n\0"), format!(" {GRANTED}<!-- 7 ms -->")]
    {
        assert_eq!(token(&*body).await.secret(), "abc", "{body:?}");
    }
}

#[tokio::test]
async fn unreadable_field_hides_no_other() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for field in [&b"1e999"[..], b"\"M\xfcller\"", b"\"\\ud800\"", deep.as_bytes()] {
        let body = [b"{\"name\":", field, b",\"access_token\":\"abc\",\"expires_in\":60}"].concat();
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
                body.clone(),
            ))))
        });
        let login =
            OAuth2Login::new(http, authorization_server(), basic(), Grant::client_credentials());
        let token = log_in(login).await.unwrap();
        assert_eq!((token.secret(), token.expiry()), ("abc", secs(60)));
    }
}

#[tokio::test]
async fn hook_gets_the_fields_except_tokens() {
    let body = json!({
        "access_token": "s3cr3t", "refresh_token": "s3cr3t", "id_token": "s3cr3t", "scope": "read",
        "instance_url": "https://eu1.example.com", "expires_in": 60,
    });
    for grant in [Grant::client_credentials(), Grant::refresh_token(RefreshToken::new("r0"))] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (body, hook) = (body.to_string(), seen.clone());
        let http = MockServer::default().service(move |_| response(200, &*body));
        let login = OAuth2Login::new(http, authorization_server(), basic(), grant);
        let mut login =
            login.inspect_response(move |fields| hook.lock().unwrap().push(fields.clone()));
        log_in_again(&mut login).await.unwrap();
        let fields =
            json!({"scope": "read", "instance_url": "https://eu1.example.com", "expires_in": 60});
        assert_eq!(*seen.lock().unwrap(), [fields.as_object().unwrap().clone()]);
    }
    // An error response is not a token response.
    let http = MockServer::default().service(|_| response(400, r#"{"error":"invalid_client"}"#));
    let login =
        OAuth2Login::new(http, authorization_server(), basic(), Grant::client_credentials());
    log_in(login.inspect_response(|_| panic!("called"))).await.unwrap_err();
}

#[tokio::test]
async fn expires_in_is_read_from_numbers_and_strings() {
    for (rest, expiry) in [
        (r#","expires_in":3600"#, secs(3600)),
        (r#","expires_in":"3600""#, secs(3600)),
        (r#","expires_in":" 3600 ""#, secs(3600)),
        (r#","expires_in":3600.0"#, secs(3600)),
        (r#","expires_in":"3600.5""#, Expiry::In(Duration::from_millis(3_600_500))),
        (r#","expires_in":0"#, secs(0)),
        (r#","expires_in":"0""#, secs(0)),
        (r#","expires_in":-1"#, secs(0)),
        (r#","expires_in":18446744073709551615"#, secs(u64::MAX)),
        (r#","expires_in":1e300"#, Expiry::In(Duration::MAX)),
        (r#","expires_in":null"#, Expiry::Unknown),
        ("", Expiry::Unknown),
    ] {
        let body = format!(r#"{{"access_token":"abc","token_type":"bEARER"{rest}}}"#);
        assert_eq!(
            login_with_response(response(200, body)).await.unwrap().expiry(),
            expiry,
            "{rest}"
        );
    }
    let token = login_with_response(response(
        200,
        format!(r#"{{"access_token":"{JWT}","refresh_in":1800}}"#),
    ))
    .await
    .unwrap();
    assert_eq!((token.expiry(), token.refresh_in()), (secs(3600), Some(Duration::from_secs(1800))));
}

#[tokio::test]
async fn odd_field_does_not_hide_code_or_token() {
    for rest in [
        r#""error_description":["no"]"#,
        r#""error_description":{}"#,
        r#""expires_in":"""#,
        r#""error_uri":7"#,
    ] {
        let error =
            login_with_response(response(401, format!(r#"{{"error":"invalid_client",{rest}}}"#)))
                .await
                .unwrap_err();
        assert!(
            error.is_permanent() && oauth2_error(&error).code() == Some("invalid_client"),
            "{rest}: {error:?}"
        );
    }
    for rest in [
        r#""refresh_in":"x""#,
        r#""refresh_token":7"#,
        r#""error":"""#,
        r#""error":null"#,
        r#""scope":[]"#,
    ] {
        let token =
            login_with_response(response(200, format!(r#"{{"access_token":"abc",{rest}}}"#)))
                .await
                .unwrap();
        assert_eq!(token.secret(), "abc", "{rest}");
    }
}

#[test]
fn any_response_is_a_token_or_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let json = "[{}\\[\\]:,\"0-9a-z_.]{0,60}";
    let member = "\"(access_token|expires_in|token_type|error|refresh_token)\":(\"[ -~]{0,9}\"|[-0-9.e]{1,9}|null|true|\\{\\})";
    let object = proptest::collection::vec(member, 0..5)
        .prop_map(|members| format!("{{{}}}", members.join(",")));
    let body = prop_oneof![
        any::<Vec<u8>>(),
        json.prop_map(String::into_bytes),
        object.prop_map(String::into_bytes)
    ];
    proptest!(|(status in 200_u16..600, body in body)| {
        let response = body.clone();
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            let response = Response::builder().status(status).body(Full::<Bytes>::from(response.clone()));
            std::future::ready(response)
        });
        let login = OAuth2Login::new(http, authorization_server(), basic(), Grant::client_credentials());
        match runtime.block_on(log_in(login)) {
            Ok(token) => prop_assert!((200..300).contains(&status) && !token.secret().is_empty()),
            Err(error) => prop_assert!(!oauth2_error(&error).to_string().is_empty()),
        }
    });
}
