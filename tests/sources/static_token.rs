//! `StaticToken`.

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, Expiry, sources::StaticToken,
};

use crate::support::{log_in, secs, token};

#[tokio::test(start_paused = true)]
async fn static_token_is_never_refreshed_and_survives_rejections() {
    let refresher = AuthRefresher::new(StaticToken::new(AccessToken::bearer("abc").unwrap()));
    let unauthorized = service_fn(|request: Request<()>| async move {
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer abc");
        Ok::<_, BoxError>(Response::builder().status(StatusCode::UNAUTHORIZED).body(())?)
    });
    let mut client = AuthRefreshLayer::new(refresher.clone()).layer(unauthorized);
    assert_eq!(token(&refresher).await, "abc");
    sleep(secs(7 * 86_400)).await;
    assert_eq!(refresher.status().generation, 1);
    // As where one of many paths is forbidden.
    for _ in 0..100 {
        let response = client
            .ready()
            .await
            .unwrap()
            .call(Request::get("https://a.example").body(()).unwrap())
            .await;
        assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
        for _ in 0..4 {
            sleep(secs(1)).await;
            assert_eq!(token(&refresher).await, "abc");
        }
    }
    assert_eq!(refresher.status().consecutive_failures, 0);
}

#[tokio::test]
async fn static_token_keeps_its_expiry() {
    let token = AccessToken::bearer("abc").unwrap().with_expires_in(secs(60));
    assert_eq!(log_in(StaticToken::new(token)).await.unwrap().expiry(), Expiry::In(secs(60)));
}
