//! What a map of tokens by hand gets wrong, beside the handle. The guide on many identities has the same lines, and a
//! table of what is wrong with them: each row is a test here.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use moka::future::Cache;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefreshers, BoxError, Error, LoginError, ReplayClone,
};

use crate::{
    KeyedLogins,
    support::{HOUR, secs},
};

const LOGIN: Duration = secs(1);

type Tokens = Cache<u32, String>;

fn hand_written() -> Tokens {
    Cache::builder().max_capacity(1_000).time_to_live(secs(3300)).build()
}

/// The lines of the guide.
async fn send<S, F>(
    tokens: &Cache<u32, HeaderValue>,
    http: S,
    login: impl Fn(u32) -> F,
    tenant: u32,
    mut request: Request<()>,
) -> Result<Response<String>, BoxError>
where
    S: Service<Request<()>, Response = Response<String>, Error = BoxError>,
    F: Future<Output = Result<HeaderValue, LoginError>>,
{
    let token = tokens.try_get_with(tenant, login(tenant)).await?;
    request.headers_mut().insert(AUTHORIZATION, token);
    let response = http.oneshot(request).await?;
    if response.status() == StatusCode::UNAUTHORIZED {
        tokens.invalidate(&tenant).await;
    }
    Ok(response)
}

/// The first line alone, of which most tests are: it calls the same logins as the handle.
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

/// `time_to_live`: after it, all calls wait for a login, and fail with it.
#[tokio::test(start_paused = true)]
async fn calls_do_not_wait_for_a_refresh_or_fail_with_it() {
    let (theirs, ours) = (KeyedLogins::new(), KeyedLogins::new());
    let is_down = Arc::new(AtomicBool::new(false));
    let login = {
        let is_down = is_down.clone();
        move || {
            let is_down = is_down.load(SeqCst);
            async move {
                sleep(LOGIN).await;
                if is_down { Err("issuer unavailable".into()) } else { Ok(secs(600)) }
            }
        }
    };
    // The cache reads the real clock.
    let tokens = Cache::builder().time_to_live(Duration::from_millis(1)).build();
    let refreshers = {
        let (logins, login) = (ours.clone(), login.clone());
        AuthRefreshers::builder(move |key: &u32| {
            let login = login.clone();
            logins.builder(key, move |_| login())
        })
        .build()
        .unwrap()
    };
    token(&tokens, 1, &theirs, login()).await.unwrap();
    secret(&refreshers, 1).await;

    std::thread::sleep(Duration::from_millis(5));
    let start = Instant::now();
    token(&tokens, 1, &theirs, login()).await.unwrap();
    assert_eq!(start.elapsed(), LOGIN, "the hand-written version waits");
    // The refresh is due 150 seconds before the expiry. A call until then, so that the key is not idle.
    sleep(secs(400)).await;
    secret(&refreshers, 1).await;
    is_down.store(true, SeqCst);
    sleep(secs(100)).await;
    assert!(ours.started(&1) > 1, "a refresh has failed");
    let start = Instant::now();
    secret(&refreshers, 1).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    std::thread::sleep(Duration::from_millis(5));
    let failed = token(&tokens, 1, &theirs, login()).await;
    failed.expect_err("the hand-written version fails with the login");
}

/// `insert`: the header value is not sensitive, and the token goes to any host, in plaintext too.
#[tokio::test(start_paused = true)]
async fn token_is_sensitive_and_not_sent_in_plaintext() {
    let ours = KeyedLogins::new();
    let refreshers = refreshers(&ours, || lives_for(HOUR));
    let is_sensitive = service_fn(|request: Request<()>| async move {
        let header = request.headers().get(AUTHORIZATION).ok_or("no token")?;
        Ok::<_, BoxError>(Response::new(header.is_sensitive().to_string()))
    });
    let (tokens, service) =
        (Cache::new(1_000), AuthRefreshLayer::keyed(refreshers).layer(is_sensitive));
    let login = |key| async move {
        HeaderValue::try_from(format!("Bearer {key}.1")).map_err(LoginError::permanent)
    };
    let request = |uri: &str| Request::get(uri).extension(1_u32).body(()).unwrap();
    let https = "https://api.example.com/";
    let by_hand = send(&tokens, is_sensitive, login, 1, request(https)).await.unwrap();
    assert_eq!(by_hand.into_body(), "false");
    assert_eq!(service.clone().oneshot(request(https)).await.unwrap().into_body(), "true");
    let plaintext = "http://api.example.com/";
    let by_hand = send(&tokens, is_sensitive, login, 1, request(plaintext)).await;
    by_hand.expect("the hand-written version sends the token in plaintext");
    let error = service.oneshot(request(plaintext)).await.unwrap_err();
    assert!(matches!(error, Error::Destination(_)), "{error:?}");
}

/// `Ok(response)`: the caller gets the rejection, although the next token would be accepted.
#[tokio::test(start_paused = true)]
async fn rejected_request_is_replayed() {
    let (theirs, ours) = (KeyedLogins::new(), KeyedLogins::new());
    let refreshers = refreshers(&ours, || lives_for(HOUR));
    let rejects_first = service_fn(|request: Request<()>| async move {
        let is_first = request.headers()[AUTHORIZATION] == "Bearer 1.1";
        let status = if is_first { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        Ok::<_, BoxError>(Response::builder().status(status).body(String::new())?)
    });
    let layer = AuthRefreshLayer::keyed(refreshers.clone()).replay(ReplayClone);
    let (tokens, service) = (Cache::new(1_000), layer.layer(rejects_first));
    let login = |key| {
        let number = theirs.start(&key);
        async move {
            HeaderValue::try_from(format!("Bearer {key}.{number}")).map_err(LoginError::permanent)
        }
    };
    refreshers.get(&1).unwrap().ready().await.unwrap();
    sleep(secs(10)).await;
    let request = || Request::get("https://api.example.com/").extension(1_u32).body(()).unwrap();
    let by_hand = send(&tokens, rejects_first, login, 1, request()).await.unwrap();
    assert_eq!(
        by_hand.status(),
        StatusCode::UNAUTHORIZED,
        "the hand-written version does not retry"
    );
    assert_eq!(service.oneshot(request()).await.unwrap().status(), StatusCode::OK);
}
