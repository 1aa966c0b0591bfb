//! Rejections that the application reports, outside of a layer.

use std::time::Duration;

use http::HeaderValue;
use tokio::time::sleep;
use tower_auth_refresh::{AccessToken, AuthRefresher, LoginReason};

use crate::support::{HOUR, MockLogin, secs, token};

/// Returns a refresher whose first token is old enough to be rejected, and that token.
async fn refresher_with_token(logins: &MockLogin) -> (AuthRefresher, AccessToken) {
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    let token = refresher.token().await.unwrap();
    sleep(secs(2)).await;
    (refresher, token)
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_replaced_by_a_login_with_the_challenge() {
    let logins = MockLogin::default();
    let (refresher, first) = refresher_with_token(&logins).await;
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    assert!(refresher.reject(&first.clone(), Some(challenge.clone())));
    assert_eq!(refresher.token().await.unwrap().secret(), "t2");
    let reason = &logins.requests()[1].reason;
    assert!(
        matches!(reason, LoginReason::Rejected { challenge: Some(seen), .. } if *seen == challenge),
        "{reason:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn rejection_of_replaced_token_keeps_its_successor() {
    let logins = MockLogin::default();
    let (refresher, first) = refresher_with_token(&logins).await;
    let second = refresher.refresh().await.unwrap().token;
    sleep(secs(2)).await;
    for _ in 0..100 {
        assert!(refresher.reject(&first, None), "a retry with the newer token can help");
    }
    assert_eq!(refresher.token().await.unwrap().secret(), "t2");
    assert_eq!(logins.started(), 2);
    assert!(refresher.reject(&second, None), "the earlier rejections must not count");
    assert_eq!(refresher.token().await.unwrap().secret(), "t3");
}

#[tokio::test(start_paused = true)]
async fn rejection_is_limited_as_in_the_layer() {
    let logins = MockLogin::default();
    let refresher =
        logins.builder(|n| async move { token(n, HOUR) }).rejection_limit(1, HOUR).build().unwrap();
    let first = refresher.token().await.unwrap();
    assert!(!refresher.reject(&first, None), "the token is too new");
    sleep(secs(2)).await;
    assert!(refresher.reject(&first, None));
    let second = refresher.token().await.unwrap();
    sleep(secs(2)).await;
    assert!(!refresher.reject(&second, None), "the limit is exceeded");
    assert_eq!(refresher.token().await.unwrap().secret(), "t2");
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn rejection_of_foreign_token_has_no_effect() {
    let logins = MockLogin::default();
    let (refresher, _) = refresher_with_token(&logins).await;
    let (_other, foreign) = refresher_with_token(&MockLogin::default()).await;
    assert_eq!(foreign.generation(), Some(1));
    assert!(!refresher.reject(&foreign, None));
    assert!(!refresher.reject(&AccessToken::bearer("t1").unwrap(), None));
    sleep(secs(60)).await;
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn rejection_after_shutdown_calls_for_no_retry() {
    let (refresher, first) = refresher_with_token(&MockLogin::default()).await;
    refresher.shutdown();
    assert!(!refresher.reject(&first, None));
}

#[tokio::test(start_paused = true)]
async fn published_token_has_its_generation() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    assert_eq!(token(1, HOUR).unwrap().generation(), None);
    assert_eq!(refresher.token().await.unwrap().clone().generation(), Some(1));
    assert_eq!(refresher.refresh().await.unwrap().token.generation(), Some(2));
    assert_eq!(refresher.token_valid_for(Duration::ZERO).await.unwrap().generation(), Some(2));
    assert_eq!(refresher.status().generation, 2);

    // A login can return the token of another refresher.
    let through = MockLogin::default().refresher(move |_| {
        let refresher = refresher.clone();
        async move { Ok(refresher.token().await?) }
    });
    let token = through.token().await.unwrap();
    assert_eq!((token.secret(), token.generation()), ("t2", Some(1)));
    sleep(secs(2)).await;
    assert!(through.reject(&token, None));
}
