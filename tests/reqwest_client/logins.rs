//! reqwest's client as the HTTP service of a login.

use std::{error::Error, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tower::ServiceBuilder;
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Error, OAuth2Login},
    reqwest_client::{RequestBuilderExt, ReqwestService, same_origin_redirects},
    transport::TransportError,
};

use crate::server::Server;

/// The application's client, which the server recognizes by a header.
fn reqwest() -> reqwest::Client {
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("x-client"),
        HeaderValue::from_static("application"),
    )]);
    reqwest::Client::builder().no_proxy().default_headers(headers).build().unwrap()
}

fn login(token_endpoint: &str) -> OAuth2Login<ReqwestService> {
    let server = AuthorizationServer::token_endpoint(token_endpoint).unwrap();
    let client = ClientAuthentication::client_secret_post("orders", "s3cr3t");
    OAuth2Login::new(ReqwestService::new(reqwest()), server, client, Grant::client_credentials())
}

#[tokio::test]
async fn login_and_requests_share_the_client() {
    let server = Server::start().await;
    let reqwest = reqwest();
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::with_login(login(&server.url("/token"))))
        .service(ReqwestService::new(reqwest.clone()));
    let response = reqwest.get(server.url("/")).send_with(&client).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let [login, request] = &server.received()[..] else { panic!() };
    assert_eq!(login.header("x-client"), Some("application"));
    assert!(login.body.starts_with(b"grant_type=client_credentials"), "{:?}", login.body);
    assert_eq!(request.header("authorization"), Some("Bearer token-1"));
    assert_eq!(request.header("x-client"), Some("application"));
}

/// Although the client follows redirects.
#[tokio::test]
async fn secrets_of_a_login_do_not_follow_a_redirect() {
    let (server, other) = (Server::start().await, Server::start().await);
    let refresher =
        AuthRefresher::new(login(&server.url(&format!("/redirect?{}", other.url("/token")))));
    let error = refresher.token().await.unwrap_err();
    assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
    assert!(other.received().is_empty());
}

/// The redirect turns the POST into a GET without the credentials, which the API rejects.
#[tokio::test]
async fn redirect_that_reqwest_follows_without_the_body_is_a_redirect_error() {
    let server = Server::start().await;
    let reqwest =
        reqwest::Client::builder().no_proxy().redirect(same_origin_redirects()).build().unwrap();
    let endpoint = AuthorizationServer::token_endpoint(&server.url("/found?/maintenance")).unwrap();
    let client = ClientAuthentication::client_secret_post("orders", "s3cr3t");
    let login = OAuth2Login::new(
        ReqwestService::new(reqwest),
        endpoint,
        client,
        Grant::client_credentials(),
    );
    let error = AuthRefresher::new(login).token().await.unwrap_err();
    assert!(!error.is_permanent());
    let cause = error.cause::<OAuth2Error>().unwrap();
    assert!(cause.transport_error().is_some_and(TransportError::is_redirect), "{cause}");
    assert!(
        cause
            .to_string()
            .ends_with(&format!("redirect to {} followed without the body", server.url(""))),
        "{cause}"
    );
    assert_eq!(server.received().len(), 2);
}

/// reqwest's errors contain the URL, and some token endpoints take an API key in its query.
#[tokio::test]
async fn query_of_a_token_endpoint_is_not_in_the_error() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refresher = AuthRefresher::new(login(&format!("http://127.0.0.1:{port}/token?key=k3y")));
    let error = refresher.token().await.unwrap_err();
    let mut next: Option<&dyn Error> = Some(&error);
    while let Some(error) = next {
        assert!(!format!("{error} {error:?}").contains("k3y"), "{error:?}");
        next = error.source();
    }
}

#[tokio::test]
async fn timeout_of_the_client_is_a_timeout_of_the_login() {
    let server = Server::start().await;
    let reqwest =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(50)).build().unwrap();
    let endpoint = AuthorizationServer::token_endpoint(&server.url("/never")).unwrap();
    let client = ClientAuthentication::public("orders");
    let login = OAuth2Login::new(
        ReqwestService::new(reqwest),
        endpoint,
        client,
        Grant::client_credentials(),
    );
    let error = AuthRefresher::new(login).token().await.unwrap_err();
    let cause = error.cause::<OAuth2Error>().unwrap();
    assert!(cause.transport_error().is_some_and(TransportError::is_timeout), "{cause}");
}

#[tokio::test]
async fn unknown_host_is_a_connection_error_of_the_login() {
    struct Unknown;
    impl reqwest::dns::Resolve for Unknown {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Box::pin(async { Err("unknown host".into()) })
        }
    }
    let reqwest =
        reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(Unknown)).build().unwrap();
    let endpoint = AuthorizationServer::token_endpoint("http://localhost:1/token").unwrap();
    let client = ClientAuthentication::public("orders");
    let grant = Grant::client_credentials();
    let login = OAuth2Login::new(ReqwestService::new(reqwest), endpoint, client, grant);
    let error = AuthRefresher::new(login).token().await.unwrap_err();
    let cause = error.cause::<OAuth2Error>().unwrap();
    assert!(cause.transport_error().is_some_and(TransportError::is_connect), "{cause}");
}
