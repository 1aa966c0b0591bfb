//! Which errors are permanent, and what they show.

use std::{convert::Infallible, sync::Arc, sync::Mutex, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tower::service_fn;
use tower_auth_refresh::{
    AuthRefresher,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken},
    transport::TransportError,
};

use crate::support::{
    MockServer, RecordedRequest, authorization_server, basic, log_in, login_with_response,
    oauth2_error, response, transport_error,
};

#[tokio::test]
async fn standard_codes_are_permanent_and_others_transient() {
    for (code, permanent) in [
        ("invalid_request", true),
        ("invalid_client", true),
        ("invalid_grant", true),
        ("unauthorized_client", true),
        ("unsupported_grant_type", true),
        ("invalid_scope", true),
        ("invalid_target", true),
        ("temporarily_unavailable", false),
        ("server_error", false),
        ("something_new", false),
    ] {
        let body = json!({"error": code, "error_description": "it is swordfish that is wrong"})
            .to_string();
        // Some servers return an error with status 200.
        for (status, passes) in [
            (400, false),
            (401, false),
            (403, false),
            (200, false),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let mut response = response(status, &*body);
            response.headers_mut().insert("retry-after", "17".parse().unwrap());
            let error = login_with_response(response).await.unwrap_err();
            assert_eq!(error.is_permanent(), permanent && !passes, "{status} {code}");
            assert_eq!(error.retry_after(), Some(Duration::from_secs(17)), "{status} {code}");
            let cause = oauth2_error(&error);
            assert_eq!(
                (cause.code(), cause.status()),
                (Some(code), StatusCode::from_u16(status).ok())
            );
            let shown = format!("{cause} {cause:?}");
            assert!(
                shown.contains("it is [redacted] that is wrong") && !shown.contains("swordfish"),
                "{shown}"
            );
        }
    }
}

#[tokio::test]
async fn response_without_code_is_transient() {
    for status in [400, 401, 403, 404, 405, 429, 500, 502, 503, 504] {
        for body in ["", "<html><body>502</body></html>", "{}", "[1]", r#"{"error":7}"#] {
            let error = login_with_response(response(status, body)).await.unwrap_err();
            assert!(!error.is_permanent(), "{status} {body}");
            assert_eq!(oauth2_error(&error).status(), StatusCode::from_u16(status).ok());
            assert_eq!(oauth2_error(&error).code(), None);
        }
    }
}

#[tokio::test]
async fn redirect_is_transient_and_names_the_target_origin() {
    for (status, location, shown) in [
        (
            302,
            Some("https://maintenance.example/sorry?token=s3cr3t"),
            "redirect to https://maintenance.example not followed",
        ),
        (303, Some("/login"), "redirect to https://as.example not followed"),
        (
            301,
            Some("https://swordfish.example/"),
            "redirect to https://[redacted].example not followed",
        ),
        (307, None, "redirect without a valid location"),
    ] {
        let mut response = response(status, "");
        if let Some(location) = location {
            response.headers_mut().insert("location", location.parse().unwrap());
        }
        let error = login_with_response(response).await.unwrap_err();
        assert!(!error.is_permanent() && transport_error(&error).is_redirect(), "{error:?}");
        assert_eq!(oauth2_error(&error).status(), StatusCode::from_u16(status).ok());
        assert!(
            format!("{error:?}").contains(shown) && !format!("{error:?}").contains("s3cr3t"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn error_is_read_from_an_object() {
    for (body, code, shown) in [
        (
            r#"{"error":{"code":"invalid_grant","message":"gone"}}"#,
            Some("invalid_grant"),
            "400 invalid_grant: gone",
        ),
        (
            r#"{"error":{"type":"OAuthException","code":190,"message":"no"}}"#,
            Some("OAuthException"),
            "OAuthException: no",
        ),
        (
            r#"{"error":{"code":400,"status":"INVALID_ARGUMENT"}}"#,
            Some("INVALID_ARGUMENT"),
            "400 INVALID_ARGUMENT",
        ),
        (r#"{"error":{"message":"it is swordfish"}}"#, None, "400: it is [redacted]"),
    ] {
        let error = login_with_response(response(400, body)).await.unwrap_err();
        assert_eq!(oauth2_error(&error).code(), code, "{body}");
        assert_eq!(error.is_permanent(), code == Some("invalid_grant"), "{body}");
        assert!(oauth2_error(&error).to_string().ends_with(shown), "{error:?}");
    }
    for marker in ["{}", "[]", "0", "false"] {
        let body = format!(r#"{{"access_token":"abc","error":{marker}}}"#);
        assert_eq!(
            login_with_response(response(200, body)).await.unwrap().secret(),
            "abc",
            "{marker}"
        );
    }
}

#[tokio::test]
async fn other_names_of_standard_codes_are_permanent() {
    for (code, invalid_grant) in [
        ("bad_refresh_token", true),
        ("invalid_refresh_token", true),
        ("incorrect_client_credentials", false),
    ] {
        let error = login_with_response(response(200, json!({ "error": code }).to_string()))
            .await
            .unwrap_err();
        assert!(error.is_permanent(), "{code}");
        let error = oauth2_error(&error);
        assert_eq!((error.code(), error.is_invalid_grant()), (Some(code), invalid_grant));
    }
}

#[tokio::test]
async fn secret_within_a_code_does_not_redact_it() {
    let http = MockServer::default()
        .service(|_| response(401, r#"{"error":"invalid_client","error_description":"client?"}"#));
    let client = ClientAuthentication::client_secret_basic("orders", "client");
    let error =
        log_in(OAuth2Login::new(http, authorization_server(), client, Grant::client_credentials()))
            .await
            .unwrap_err();
    assert!(
        error.is_permanent()
            && oauth2_error(&error).to_string().ends_with("invalid_client: [redacted]?"),
        "{error:?}"
    );
}

#[tokio::test]
async fn error_shows_no_secret_and_no_token() {
    let echo = |request: &RecordedRequest| {
        let header =
            request.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        response(400, format!("bad request: {header:?} {:?}", request.form))
    };
    let grant = || {
        Grant::client_credentials()
            .parameter("actor_token", "act-s3cr3t")
            .parameter("code", "code-s3cr3t")
    };
    for client in [
        ClientAuthentication::client_secret_basic("orders", "sword/fish"),
        ClientAuthentication::client_secret_post("orders", "sword/fish"),
    ] {
        let login = OAuth2Login::new(
            MockServer::default().service(echo),
            authorization_server(),
            client,
            grant(),
        );
        let shown = format!("{:?}", log_in(login).await.unwrap_err());
        for secret in ["s3cr3t", "sword", "fish", "b3JkZXJzOnN3b3JkJTJGZmlzaA=="] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    for (status, body) in [
        (502, r#"{"access_token":"s3cr3t","refresh_token":"s3cr3t"}"#),
        (400, r#"{"access_token":"s3cr3t","refr"#),
        (404, "access_token=s3cr3t&expires_in=7"),
        (500, r#"<p>{"accessToken":"s3cr3t"}</p>"#),
    ] {
        let shown = format!("{:?}", login_with_response(response(status, body)).await.unwrap_err());
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}

/// Some servers take an API key there.
#[tokio::test]
async fn error_shows_no_query_of_the_token_endpoint() {
    let server =
        AuthorizationServer::token_endpoint("https://as.example/token?key=s3cr3t").unwrap();
    let http = MockServer::default()
        .service(|request| response(404, format!("cannot POST {}", request.url)));
    let login = OAuth2Login::new(http, server, basic(), Grant::client_credentials());
    let shown = format!("{:?}", log_in(login).await.unwrap_err());
    assert!(shown.contains("cannot POST https://as.example/token"), "{shown}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test]
async fn error_shows_no_long_value_of_the_query() {
    for (query, shown) in [
        ("code=topsecretkey123", "unknown key topsecretkey123"),
        ("a=1&code=top%20secret%20key", "unknown key top secret key"),
        ("code=top%20secret%20key", "unknown key top%20secret%20key"),
    ] {
        let url = format!("https://as.example/token?{query}");
        let server = AuthorizationServer::token_endpoint(&url).unwrap();
        let http = MockServer::default().service(move |_| response(403, shown));
        let login = OAuth2Login::new(http, server, basic(), Grant::client_credentials());
        let error = log_in(login).await.unwrap_err();
        assert!(
            oauth2_error(&error).to_string().ends_with("403: unknown key [redacted]"),
            "{error:?}"
        );
    }
    let server =
        AuthorizationServer::token_endpoint("https://as.example/token?api-version=1").unwrap();
    let http = MockServer::default().service(|_| response(403, "unknown key 1"));
    let login = OAuth2Login::new(http, server, basic(), Grant::client_credentials());
    let error = log_in(login).await.unwrap_err();
    assert!(oauth2_error(&error).to_string().ends_with("unknown key 1"), "{error:?}");
}

#[tokio::test]
async fn content_coding_is_named_for_every_status() {
    for status in [200, 401] {
        for codings in [&["gzip"][..], &["identity", "gzip"]] {
            let mut response = response(status, r#"{"error":"invalid_client"}"#);
            for coding in codings {
                response.headers_mut().append("content-encoding", coding.parse().unwrap());
            }
            let error = login_with_response(response).await.unwrap_err();
            let text = oauth2_error(&error).to_string();
            assert!(text.ends_with("response body has the content coding gzip"), "{text}");
            assert_eq!(text.contains("401"), status == 401, "{text}");
        }
    }
}

#[tokio::test]
async fn retry_after_of_a_redirect_is_followed() {
    let mut response = response(302, "");
    response.headers_mut().insert("location", "https://down.example/".parse().unwrap());
    response.headers_mut().insert("retry-after", "120".parse().unwrap());
    let error = login_with_response(response).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn chain_shows_each_text_once() {
    fn texts(error: &(dyn std::error::Error + 'static)) -> String {
        let chain = std::iter::successors(Some(error), |error| error.source());
        chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
    let http = service_fn(|_: Request<Full<Bytes>>| async {
        Err::<Response<Full<Bytes>>, tower::BoxError>("boom".into())
    });
    let login =
        OAuth2Login::new(http, authorization_server(), basic(), Grant::client_credentials());
    let error = log_in(login).await.unwrap_err();
    assert_eq!(texts(&error), "login failed: POST https://as.example/token: request failed: boom");
    let error = login_with_response(response(200, r#"{"access_token":"a b"}"#)).await.unwrap_err();
    assert_eq!(texts(&error).matches("invalid byte").count(), 1, "{}", texts(&error));
}

#[tokio::test]
async fn errors_of_both_metadata_requests_are_returned() {
    let http = service_fn(|request: Request<Full<Bytes>>| async move {
        if request.uri().path().ends_with("oauth-authorization-server") {
            let redirect =
                Response::builder().status(302).header("location", "https://down.example/");
            return Ok(redirect.body(Full::<Bytes>::default()).unwrap());
        }
        Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
    });
    let server = AuthorizationServer::discover("https://as.example").unwrap();
    let error = log_in(OAuth2Login::new(http, server, basic(), Grant::client_credentials()))
        .await
        .unwrap_err();
    let error = oauth2_error(&error);
    assert!(error.transport_errors().any(TransportError::is_timeout), "{error}");
    assert!(error.transport_error().unwrap().is_redirect(), "the first: {error}");
    assert!(std::error::Error::source(error).is_none(), "of the first");
}

#[tokio::test]
async fn login_that_needs_its_own_token_fails_immediately() {
    for grant in [Grant::client_credentials(), Grant::refresh_token(RefreshToken::new("r0"))] {
        let own = Arc::new(Mutex::new(None::<AuthRefresher>));
        let asks = own.clone();
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            let own = asks.lock().unwrap().clone().unwrap();
            async move { Err::<Response<Full<Bytes>>, _>(own.token().await.unwrap_err()) }
        });
        let refresher =
            AuthRefresher::new(OAuth2Login::new(http, authorization_server(), basic(), grant));
        *own.lock().unwrap() = Some(refresher.clone());
        let error = format!("{:?}", refresher.token().await.unwrap_err());
        assert!(error.contains("waits for its own token"), "{error}");
        *own.lock().unwrap() = None;
    }
}

#[tokio::test]
async fn panic_in_refresh_task_fails_the_login() {
    let panics = service_fn(|_: Request<Full<Bytes>>| async {
        if true {
            panic!("on purpose");
        }
        Ok::<Response<Full<Bytes>>, Infallible>(Response::default())
    });
    let grant = Grant::refresh_token(RefreshToken::new("r0"));
    let refresher =
        AuthRefresher::new(OAuth2Login::new(panics, authorization_server(), basic(), grant));
    assert!(refresher.token().await.unwrap_err().to_string().contains("panicked"));
}
