//! Which redirects the client follows, and what it sends along.

use crate::support::*;
use http::{Method, Response};
use tower::ServiceExt;
use tower_auth_refresh::{
    AccessToken, LoginError,
    arthur::{ArthurApi, BaseUrl, GetArthurInternalUserOrg, GetAuthInfo, UserLogin},
};

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

fn redirect(status: u16, to: &str) -> Response<Body> {
    let mut response = crate::support::status(status, "");
    response.headers_mut().insert("location", to.parse().unwrap());
    response
}

#[tokio::test]
async fn login_is_not_redirected_to_other_origin() {
    for status in REDIRECTS {
        let other = Script::start(|_| cookies(&["Authorization=stolen"])).await;
        let target = other.url();
        let to = target.replace("//", "//user:pw@") + "/login?next=s3cr3t#f";
        let server = Script::start(move |_| redirect(status, &to)).await;

        let error = failed_login(api(&server.url())).await;
        assert!(transport_error(&error).is_redirect());
        assert_eq!(error.status().unwrap(), status);
        assert!(error.to_string().contains(&target), "{error}");
        for hidden in ["s3cr3t", "user:pw", "/login?"] {
            assert!(!error.to_string().contains(hidden), "{error}");
        }
        assert!(!LoginError::from(error).is_permanent());
        assert_eq!(other.seen().len(), 0, "the other server must receive nothing");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn token_is_not_redirected_to_other_origin() {
    for status in REDIRECTS {
        let other =
            Script::start(|_| crate::support::status(200, r#"{"organization_id":"o"}"#)).await;
        let target = other.url();
        let server = Script::start(move |_| redirect(status, &target)).await;

        let token = AccessToken::raw("t0ken").unwrap();
        let api = api(&server.url());
        let org = GetArthurInternalUserOrg::new(api.clone()).oneshot(token.clone()).await;
        let info = GetAuthInfo::new(api).oneshot(token).await;
        for error in [org.unwrap_err(), info.unwrap_err()] {
            assert!(transport_error(&error).is_redirect());
            assert!(error.to_string().contains(&other.url()), "{error}");
            assert_hidden(&error, "t0ken");
        }
        assert_eq!(other.seen().len(), 0, "the other server must receive nothing");
    }
}

#[tokio::test]
async fn other_name_of_same_server_is_other_origin() {
    let server = Script::start(|seen| {
        let port = seen.headers["host"].to_str().unwrap().rsplit(':').next().unwrap();
        redirect(307, &format!("http://127.0.0.1:{port}/api/v3/login"))
    })
    .await;
    let error = failed_login(api(&server.url())).await;
    assert!(error.to_string().contains("http://127.0.0.1:"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn redirect_that_keeps_method_is_followed_with_body() {
    for status in [307, 308] {
        let server = Script::start(move |seen| match seen.path.as_str() {
            "/api/v3/login" => redirect(status, "../v4/login"),
            _ => cookies(&["Authorization=a.b.c"]),
        })
        .await;
        let login = log_in(api(&server.url())).await.unwrap();
        assert_eq!(login.token.header_value(), "a.b.c");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].path, "/api/v4/login");
        assert_eq!(seen[1].method, Method::POST);
        assert_eq!(seen[1].body, seen[0].body);
        assert!(!seen[1].body.is_empty());
    }
}

#[tokio::test]
async fn post_redirect_that_changes_method_is_transient_error() {
    for code in [301, 302, 303] {
        let server = Script::start(move |_| redirect(code, "/maintenance")).await;
        let error = failed_login(api(&server.url())).await;
        assert!(transport_error(&error).is_redirect(), "{error}");
        assert_eq!(error.status().unwrap(), code);
        assert!(
            error.to_string().ends_with(&format!("redirect to {} not followed", server.url())),
            "{error}"
        );
        assert!(!LoginError::from(error).is_permanent());
        assert_eq!(server.seen().len(), 1);
    }
}

#[cfg(feature = "oauth2")]
#[tokio::test]
async fn token_request_redirect_is_transient_error_with_origin() {
    use tower_auth_refresh::{
        LoginReason, LoginRequest,
        oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Error, OAuth2Login},
        transport::TransportError,
    };

    for code in REDIRECTS {
        let server =
            Script::start(move |_| redirect(code, "https://moved.example/token?key=s3cr3t")).await;
        let endpoint =
            AuthorizationServer::token_endpoint(&format!("{}/token", server.url())).unwrap();
        let client_authentication = ClientAuthentication::client_secret_post("client", "s3cr3t");
        let login = OAuth2Login::new(
            client(),
            endpoint,
            client_authentication,
            Grant::client_credentials(),
        );
        let error = login.oneshot(LoginRequest::new(LoginReason::First)).await.unwrap_err();
        assert!(!error.is_permanent());
        assert_hidden(&error, "s3cr3t");
        let cause = error.cause::<OAuth2Error>().unwrap();
        assert!(cause.transport_error().is_some_and(TransportError::is_redirect));
        assert_eq!(cause.status().unwrap(), code);
        assert!(cause.to_string().contains("https://moved.example not followed"), "{cause}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn redirected_get_keeps_its_token() {
    let server = Script::start(|seen| match seen.path.as_str() {
        "/api/v3/users/me" => redirect(302, "/me"),
        _ => crate::support::status(200, r#"{"organization_id":"o"}"#),
    })
    .await;
    let token = AccessToken::raw("t0ken").unwrap();
    let org = GetArthurInternalUserOrg::new(api(&server.url())).oneshot(token).await;
    assert_eq!(org.unwrap(), "o");
    assert_eq!(server.seen()[1].headers["authorization"], "t0ken");
}

#[tokio::test]
async fn endless_redirects_are_error_that_says_too_many() {
    let server = Script::start(|_| redirect(307, "/again")).await;
    let error = failed_login(api(&server.url())).await;
    assert!(transport_error(&error).is_redirect());
    assert!(error.to_string().contains(&server.url()), "{error}");
    assert!(error.to_string().contains("too many redirects"), "{error}");
    assert_eq!(error.status().unwrap(), 307);
    assert!(!LoginError::from(error).is_permanent());
    assert_eq!(server.seen().len(), 6, "one request and five redirects");

    let wrapped = client().map_err(std::io::Error::other);
    let api = ArthurApi::new(BaseUrl::parse(&server.url()).unwrap(), wrapped);
    let error = UserLogin::new(api).oneshot(credentials()).await.unwrap_err();
    assert!(transport_error(&error).is_redirect(), "also inside another error: {error}");
}

#[tokio::test]
async fn redirect_to_invalid_location_is_error() {
    for (location, named) in [
        ("", "localhost"),
        ("mailto:jo@example.com", "without a valid location"),
        ("https://[::1", "without a valid location"),
        ("//arthur.example/x", "http://arthur.example"),
    ] {
        let server = Script::start(move |_| redirect(302, location)).await;
        let error = failed_login(api(&server.url())).await;
        assert!(transport_error(&error).is_redirect());
        assert!(error.to_string().contains(named), "{location}: {error}");
    }
    let server = Script::start(|_| status(302, "")).await;
    let error = failed_login(api(&server.url())).await;
    assert!(error.to_string().contains("without a valid location"), "{error}");
}

#[tokio::test]
async fn redirect_to_host_with_token_hides_token() {
    let server = Script::start(|seen| {
        let token = seen.headers["authorization"].to_str().unwrap();
        redirect(302, &format!("https://{token}.example/"))
    })
    .await;
    let token = AccessToken::raw("t0ken").unwrap();
    let error = GetAuthInfo::new(api(&server.url())).oneshot(token).await.unwrap_err();
    assert!(error.to_string().contains("https://[redacted].example"), "{error}");
    assert_hidden(&error, "t0ken");
}
