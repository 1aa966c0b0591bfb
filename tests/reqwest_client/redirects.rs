//! Redirects that reqwest follows below the layer.

use http::{HeaderName, StatusCode};
use reqwest::redirect::Policy;
use tower::{ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, ReplayClone,
    reqwest_client::{RequestBuilderExt, ReqwestService, same_origin_redirects},
};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::server::Server;

fn reqwest(policy: Policy) -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(policy).build().unwrap()
}

#[tokio::test]
async fn redirect_within_the_origin_carries_the_token() {
    let server = Server::start().await;
    let reqwest = reqwest(same_origin_redirects());
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(server.refresher()))
        .service(ReqwestService::new(reqwest.clone()));

    let response =
        reqwest.post(server.url("/redirect?/orders")).body("7").send_with(&client).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.url().as_str(), server.url("/orders"));
    assert_eq!(response.text().await.unwrap(), "7");
    assert_eq!(server.received()[1].header("authorization"), Some("Bearer token-1"));
}

#[tokio::test]
async fn redirect_to_another_origin_is_the_response() {
    let (server, other) = (Server::start().await, Server::start().await);
    let reqwest = reqwest(same_origin_redirects());
    let layer =
        AuthRefreshLayer::new(server.refresher()).header(HeaderName::from_static("x-token"));
    let client = ServiceBuilder::new().layer(layer).service(ReqwestService::new(reqwest.clone()));

    let url = server.url(&format!("/redirect?{}", other.url("/")));
    let response = reqwest.post(url).body("secret").send_with(&client).await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(server.received()[0].header("x-token"), Some("Bearer token-1"));
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn redirects_in_a_row_are_limited() {
    let server = Server::start().await;
    let response = reqwest(same_origin_redirects()).get(server.url("/loop")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(server.received().len(), 6);
}

/// What the module warns of.
#[tokio::test]
async fn default_policy_forwards_unknown_headers_to_any_origin() {
    let (server, other) = (Server::start().await, Server::start().await);
    let (reqwest, refresher) = (reqwest(Policy::default()), server.refresher());
    let url = server.url(&format!("/redirect?{}", other.url("/")));
    for name in ["authorization", "x-token"] {
        let layer = AuthRefreshLayer::new(refresher.clone()).header(HeaderName::from_static(name));
        let client =
            ServiceBuilder::new().layer(layer).service(ReqwestService::new(reqwest.clone()));
        let response = reqwest.get(&url).send_with(&client).await.unwrap();
        assert_eq!(response.url().as_str(), other.url("/"));
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    let received = other.received();
    assert_eq!(received[0].header("authorization"), None);
    // The second token, because the response to the missing header has rejected the first.
    assert_eq!(received[1].header("x-token"), Some("Bearer token-2"));
}

#[tokio::test]
async fn body_of_another_type_is_not_sent_to_a_redirect() {
    let (server, other) = (Server::start().await, Server::start().await);
    let service = ReqwestService::new(reqwest(Policy::default()));
    let url = server.url(&format!("/redirect?{}", other.url("/")));
    let request = http::Request::post(url).body("secret".to_owned()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn follow_redirect_above_the_layer_checks_each_hop() {
    let (server, other) = (Server::start().await, Server::start().await);
    let reqwest = reqwest(Policy::none());
    let layer = AuthRefreshLayer::new(server.refresher()).replay(ReplayClone);
    let layer = layer.allow_origin(server.url("").as_str()).unwrap();
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(layer)
        .service(ReqwestService::new(reqwest));

    let get = |url: String| http::Request::get(url).body(String::new()).unwrap();
    let response = client.clone().oneshot(get(server.url("/redirect?/orders"))).await.unwrap();
    assert_eq!(reqwest::Response::from(response).url().as_str(), server.url("/orders"));

    let url = server.url(&format!("/redirect?{}", other.url("/")));
    client.oneshot(get(url)).await.unwrap_err();
    assert!(other.received().is_empty());
}
