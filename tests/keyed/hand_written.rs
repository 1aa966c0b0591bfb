//! What a map of tokens by hand gets wrong, beside the handle. The guide on many identities has the same lines.

use std::{future::Future, sync::Arc, time::Duration};

use futures::future::join_all;
use moka::future::Cache;
use tokio::time::{Instant, sleep, timeout};
use tower_auth_refresh::{AuthRefreshers, BoxError};

use crate::{
    KeyedLogins,
    support::{HOUR, secs},
};

const LOGIN: Duration = secs(1);

type Tokens = Cache<u32, String>;

fn hand_written() -> Tokens {
    Cache::builder().max_capacity(1_000).time_to_live(secs(3300)).build()
}

/// The hand-written version: it calls the same logins as the handle.
async fn token<F>(
    tokens: &Tokens,
    key: u32,
    logins: &KeyedLogins<u32>,
    login: F,
) -> Result<String, Arc<BoxError>>
where
    F: Future<Output = Result<Duration, BoxError>>,
{
    let login = async {
        let number = logins.start(&key);
        let _running = crate::Running(logins.clone());
        login.await.map(|_lifetime| format!("{key}.{number}"))
    };
    tokens.try_get_with(key, login).await
}

async fn lives_for(lifetime: Duration) -> Result<Duration, BoxError> {
    sleep(LOGIN).await;
    Ok(lifetime)
}

async fn fails() -> Result<Duration, BoxError> {
    Err("issuer unavailable".into())
}

fn refreshers<F>(logins: &KeyedLogins<u32>, login: fn() -> F) -> AuthRefreshers<u32>
where
    F: Future<Output = Result<Duration, BoxError>> + Send + 'static,
{
    let logins = logins.clone();
    let factory = move |key: &u32| logins.builder(key, move |_| login()).wait_timeout(HOUR);
    AuthRefreshers::builder(factory).capacity(2_000).build().unwrap()
}

async fn secret(refreshers: &AuthRefreshers<u32>, key: u32) -> String {
    refreshers.get(&key).unwrap().token().await.unwrap().secret().to_owned()
}

/// `time_to_live`: one lifetime for all tokens.
#[tokio::test(start_paused = true)]
async fn lifetime_is_that_of_each_token() {
    let (theirs, ours) = (KeyedLogins::new(), KeyedLogins::new());
    let tokens = hand_written();
    let refreshers = refreshers(&ours, || lives_for(secs(60)));
    let mut sent = Vec::new();
    for _ in 0..2 {
        let by_hand = token(&tokens, 1, &theirs, lives_for(secs(60))).await.unwrap();
        sent.push((by_hand, secret(&refreshers, 1).await));
        sleep(secs(120)).await;
    }
    assert_eq!(sent[0], ("1.1".into(), "1.1".into()));
    assert_eq!(sent[1].0, "1.1", "the hand-written version sends a token that has expired");
    assert_ne!(sent[1].1, "1.1");
}

/// `try_get_with`: the login runs in the future of the call.
#[tokio::test(start_paused = true)]
async fn call_that_times_out_does_not_stop_the_login() {
    let (theirs, ours) = (KeyedLogins::new(), KeyedLogins::new());
    let tokens = hand_written();
    let refreshers = refreshers(&ours, || lives_for(HOUR));
    for _ in 0..3 {
        timeout(LOGIN / 4, token(&tokens, 1, &theirs, lives_for(HOUR))).await.unwrap_err();
    }
    for _ in 0..3 {
        timeout(LOGIN / 4, secret(&refreshers, 1)).await.unwrap_err();
    }
    assert_eq!(theirs.started(&1), 3, "the hand-written version drops each login with its call");
    assert_eq!(secret(&refreshers, 1).await, "1.1");
    assert_eq!(ours.started(&1), 1);
}

/// `?`: a failure is not stored.
#[tokio::test(start_paused = true)]
async fn calls_after_a_failure_do_not_each_log_in() {
    let (theirs, ours) = (KeyedLogins::new(), KeyedLogins::new());
    let tokens = hand_written();
    let refreshers = refreshers(&ours, fails);
    for _ in 0..100 {
        token(&tokens, 1, &theirs, fails()).await.unwrap_err();
        refreshers.get(&1).unwrap().token().await.unwrap_err();
    }
    assert_eq!(theirs.started(&1), 100, "the hand-written version logs in for each call");
    assert_eq!(ours.started(&1), 1);
}

/// `max_capacity`: nothing limits how many keys log in at the same time.
#[tokio::test(start_paused = true)]
async fn cold_keys_do_not_all_log_in_at_once() {
    let (theirs, ours) = (KeyedLogins::new(), KeyedLogins::new());
    let tokens = hand_written();
    let refreshers = refreshers(&ours, || lives_for(HOUR));
    join_all((0..500).map(|key| token(&tokens, key, &theirs, lives_for(HOUR)))).await;
    join_all((0..500).map(|key| secret(&refreshers, key))).await;
    assert_eq!(
        theirs.most_running(),
        500,
        "the hand-written version sends all logins at the same time"
    );
    assert_eq!(ours.most_running(), 16);
}

/// `invalidate`: a late rejection of an old token removes the newer one.
#[tokio::test(start_paused = true)]
async fn late_rejection_does_not_remove_a_newer_token() {
    let (theirs, ours) = (KeyedLogins::new(), KeyedLogins::new());
    let tokens = hand_written();
    let refreshers = refreshers(&ours, || lives_for(HOUR));
    let old = refreshers.get(&1).unwrap().token().await.unwrap();
    token(&tokens, 1, &theirs, lives_for(HOUR)).await.unwrap();
    sleep(secs(10)).await;
    // Ten requests were sent with the old token. Their rejections arrive one after another.
    for _ in 0..10 {
        tokens.invalidate(&1).await;
        token(&tokens, 1, &theirs, lives_for(HOUR)).await.unwrap();
        refreshers.get(&1).unwrap().reject(&old, None);
        secret(&refreshers, 1).await;
    }
    assert_eq!(theirs.started(&1), 1 + 10, "the hand-written version logs in for each rejection");
    assert_eq!(ours.started(&1), 1 + 1);
}

/// `time_to_live`: the first call after it waits for a login.
#[tokio::test(start_paused = true)]
async fn token_is_replaced_before_it_expires() {
    let ours = KeyedLogins::new();
    let refreshers = refreshers(&ours, || lives_for(HOUR));
    secret(&refreshers, 1).await;
    for _ in 0..12 {
        // Often enough that the key is not idle.
        sleep(secs(600)).await;
        let start = Instant::now();
        secret(&refreshers, 1).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
    assert_eq!(ours.started(&1), 3);
}
