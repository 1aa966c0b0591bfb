//! reqwest's requests and responses through the layer.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_auth_refresh::{
    AuthRefresh, AuthRefreshLayer, AuthRefresher, Error, LoginRequest, ReplayClone,
    UnsafeDestination,
    reqwest_client::{RequestBuilderExt, ReqwestService, same_origin_redirects},
};

#[cfg(feature = "replay-buffered")]
use tower_auth_refresh::ReplayBuffered;

use crate::server::Server;

fn reqwest() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(same_origin_redirects()).build().unwrap()
}

fn stack(refresher: AuthRefresher) -> AuthRefresh<ReqwestService> {
    AuthRefresh::new(ReqwestService::new(reqwest()), refresher)
}

#[tokio::test]
async fn json_and_url_pass_through_the_layer() {
    let server = Server::start().await;
    let (reqwest, client) = (reqwest(), stack(server.refresher()));
    let url = server.url("/orders?page=2");

    let response = reqwest.post(&url).json(&json!({ "item": 7 })).send_with(&client).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.url().as_str(), url);
    assert!(response.remote_addr().is_some());
    assert_eq!(response.content_length(), Some(10));
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "item": 7 }));

    let [request] = &server.received()[..] else { panic!() };
    assert_eq!(request.header("authorization"), Some("Bearer token-1"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some("10"));
    assert_eq!(request.body, r#"{"item":7}"#);
}

#[tokio::test]
async fn streams_pass_through_the_layer() {
    let server = Server::start().await;
    let (reqwest, client) = (reqwest(), stack(server.refresher()));

    let response = reqwest.get(server.url("/stream")).send_with(&client).await.unwrap();
    let parts: Vec<Bytes> = response.bytes_stream().map(Result::unwrap).collect().await;
    assert_eq!(
        parts.concat(),
        (0..10).map(|n| format!("part {n};")).collect::<String>().as_bytes()
    );

    let parts = futures::stream::iter(["a", "b", "c"].map(Ok::<_, BoxError>));
    let request = reqwest.post(server.url("/")).body(reqwest::Body::wrap_stream(parts));
    assert_eq!(request.send_with(&client).await.unwrap().text().await.unwrap(), "abc");
}

#[tokio::test]
async fn error_for_status_names_the_url() {
    let server = Server::start().await;
    let (reqwest, client) = (reqwest(), stack(server.refresher()));
    let _ = reqwest.get(server.url("/")).send_with(&client).await.unwrap();
    server.revoke();
    let response = reqwest.get(server.url("/orders")).send_with(&client).await.unwrap();
    let error = response.error_for_status().unwrap_err();
    assert_eq!(error.url().unwrap().as_str(), server.url("/orders"));
}

#[tokio::test]
async fn timeout_of_a_request_is_kept() {
    let server = Server::start().await;
    let (reqwest, client) = (reqwest(), stack(server.refresher()));
    let request = reqwest.get(server.url("/never")).timeout(Duration::from_millis(20));
    let error = request.send_with(&client).await.unwrap_err().into_source();
    assert!(error.downcast::<reqwest::Error>().unwrap().is_timeout());
}

#[tokio::test]
async fn future_can_be_spawned() {
    let server = Server::start().await;
    let (reqwest, client) = (reqwest(), stack(server.refresher()));
    let url = server.url("/");
    let status =
        tokio::spawn(async move { reqwest.get(url).send_with(&client).await.unwrap().status() });
    assert_eq!(status.await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn errors_are_found_by_their_type() {
    let server = Server::start().await;
    let (reqwest, client) = (reqwest(), stack(server.refresher()));

    let error = reqwest.get("http://[").send_with(&client).await.unwrap_err().into_source();
    assert!(error.downcast_ref::<reqwest::Error>().unwrap().is_builder(), "{error}");

    let error = reqwest.get("http://api.example.com/").send_with(&client).await.unwrap_err();
    assert!(matches!(error, Error::Destination(UnsafeDestination::Plaintext)), "{error:?}");

    let login = service_fn(|_: LoginRequest| async { Err::<_, BoxError>("login refused".into()) });
    let client = stack(AuthRefresher::new(login));
    let error = reqwest.get(server.url("/")).send_with(&client).await.unwrap_err();
    assert!(matches!(error, Error::Login(_)), "{error:?}");
    assert!(server.received().is_empty());
}

/// Also with layers above that have another error.
#[tokio::test]
async fn error_of_the_stack_is_that_of_its_outermost_layer() {
    let server = Server::start().await;
    let (reqwest, client) = (reqwest(), stack(server.refresher()));
    let client = ServiceBuilder::new().timeout(Duration::from_secs(60)).service(client);
    let error: BoxError =
        reqwest.get("http://api.example.com/").send_with(&client).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Destination(_))), "{error:?}");
}

#[tokio::test]
async fn origin_form_uri_is_an_error_of_the_builder() {
    let request = Request::get("/orders").body(String::new()).unwrap();
    let error = ReqwestService::new(reqwest()).oneshot(request).await.unwrap_err();
    assert!(error.is_builder(), "{error:?}");
}

#[tokio::test]
async fn bodies_of_other_crates_are_sent() {
    let server = Server::start().await;
    let layer = AuthRefreshLayer::new(server.refresher()).replay(ReplayClone);
    let client = ServiceBuilder::new().layer(layer).service(ReqwestService::new(reqwest()));
    client
        .clone()
        .oneshot(Request::post(server.url("/")).body(Full::from("first")).unwrap())
        .await
        .unwrap();
    server.revoke();

    let request = Request::post(server.url("/")).body(Full::from("second")).unwrap();
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "second");
    let lengths: Vec<_> = server
        .received()
        .iter()
        .map(|request| request.header("content-length").unwrap().to_owned())
        .collect();
    assert_eq!(lengths, ["5", "6", "6"]);
}

#[cfg(feature = "replay-buffered")]
#[tokio::test]
async fn body_that_is_not_sync_is_sent_and_replayed_from_a_buffer() {
    let server = Server::with_revocations([1]).await;
    let layer = AuthRefreshLayer::new(server.refresher()).replay(ReplayBuffered::new());
    let client = ServiceBuilder::new().layer(layer).service(ReqwestService::new(reqwest()));
    for text in ["first", "second"] {
        let request = Request::post(server.url("/"))
            .body(Full::new(Bytes::from(text)).boxed_unsync())
            .unwrap();
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), text);
    }
    assert_eq!(server.received().len(), 3);
}

#[cfg(feature = "replay-buffered")]
#[tokio::test]
async fn revoked_tokens_fail_no_request() {
    let server = Server::with_revocations([50, 110]).await;
    let reqwest = reqwest();
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(server.refresher()).replay(ReplayBuffered::new()))
        .service(ReqwestService::new(reqwest.clone()));
    for n in 0..160 {
        let request = reqwest.post(server.url("/")).json(&json!({ "item": n }));
        let response = request.send_with(&client).await.unwrap().error_for_status().unwrap();
        assert_eq!(response.json::<Value>().await.unwrap(), json!({ "item": n }));
    }
    assert_eq!(server.received().len(), 162, "two rejected requests were sent twice");
}
