//! What happens while a login is under way, and what a rejection or a limit does to it.

use std::{
    convert::Infallible,
    future::{pending, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{HOUR, MockLogin, cause, request, secs, send, token};
use http::{Request, Response, header::AUTHORIZATION};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, BoxError, ReplayClone, TokenValidFor,
};

const MILLIS_1500: Duration = Duration::from_millis(1500);

/// A server that accepts one token.
fn accepts(
    accepted: &'static str,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone {
    service_fn(move |request: Request<()>| {
        let status = if request.headers()[AUTHORIZATION] == accepted { 200 } else { 401 };
        ready(Ok(Response::builder().status(status).body(()).unwrap()))
    })
}

/// A refresher whose refreshes take 1.5 seconds, in the middle of the first one.
async fn in_the_middle_of_a_refresh(
    logins: &MockLogin,
    secret: fn(usize) -> usize,
) -> AuthRefresher {
    let refresher = logins.refresher(move |n| async move {
        if n > 1 {
            sleep(MILLIS_1500).await;
        }
        token(secret(n), HOUR)
    });
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(300) + Duration::from_millis(700)).await;
    assert_eq!(logins.running(), 1);
    refresher
}

#[tokio::test(start_paused = true)]
async fn rejection_uses_the_refresh_under_way() {
    let logins = MockLogin::default();
    let refresher = in_the_middle_of_a_refresh(&logins, |n| n).await;
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(accepts("Bearer t2"));
    let start = Instant::now();
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(start.elapsed(), Duration::from_millis(800), "the rest of the refresh");
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn refresh_that_returns_the_rejected_token_is_discarded() {
    let logins = MockLogin::default();
    // The refresh was sent before the rejection, so the issuer returns its cached token.
    let refresher = in_the_middle_of_a_refresh(&logins, |n| if n < 3 { 1 } else { n }).await;
    let client =
        AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(accepts("Bearer t3"));
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(logins.started(), 3);
    assert_eq!(refresher.status().consecutive_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn second_invalidation_keeps_the_first_ones_effect() {
    let logins = MockLogin::default();
    let refresher = in_the_middle_of_a_refresh(&logins, |n| n).await;
    refresher.invalidate();
    refresher.invalidate();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t3", "the refresh under way is discarded");
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_longer_lived_token_is_limited_by_the_wait_timeout() {
    let logins = MockLogin::default();
    let refresher =
        logins.refresher(|n| async move { if n == 1 { token(n, HOUR) } else { pending().await } });
    refresher.ready().await.unwrap();
    sleep(HOUR / 2).await;
    let start = Instant::now();
    assert_eq!(refresher.token_valid_for(HOUR).await.unwrap().secret(), "t1");
    assert_eq!(start.elapsed(), secs(10));

    let start = Instant::now();
    let mut long = request();
    long.extensions_mut().insert(TokenValidFor(HOUR));
    let client = AuthRefreshLayer::new(refresher).layer(accepts("Bearer t1"));
    assert_eq!(client.oneshot(long).await.unwrap().status(), 200);
    assert_eq!(start.elapsed(), secs(10));
}

#[tokio::test(start_paused = true)]
async fn least_backoff_lets_other_tasks_run() {
    let nanosecond = Duration::from_nanos(1);
    let logins = MockLogin::default();
    let builder = logins.builder(|_| ready(Err::<AccessToken, BoxError>("down".into())));
    let refresher = builder.backoff(nanosecond, nanosecond).build().unwrap();
    assert_eq!(cause(send(&refresher).await.unwrap_err()), "login failed");
    sleep(secs(1)).await;
    assert!((500..=1002).contains(&logins.started()), "{} logins in 1001 ms", logins.started());
}

/// A revoked token that a refresher starts with, or that the first login returns from a cache.
#[tokio::test(start_paused = true)]
async fn revoked_token_of_unknown_age_is_replaced_in_the_same_request() {
    for from_cache in [false, true] {
        let logins = MockLogin::default();
        let builder = logins.builder(move |n| async move {
            let token = token(n, HOUR)?;
            Ok(if from_cache && n == 1 { token.with_unknown_age() } else { token })
        });
        let (builder, fresh) = match from_cache {
            true => (builder, "Bearer t2"),
            false => (builder.initial_token(token(0, HOUR).unwrap()), "Bearer t1"),
        };
        let refresher = builder.build().unwrap();
        let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(accepts(fresh));
        assert_eq!(
            client.call(request()).await.unwrap().status(),
            200,
            "from a cache: {from_cache}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn revoked_token_of_a_source_is_read_again_at_once() {
    let current = Arc::new(Mutex::new("revoked"));
    let source = current.clone();
    let login = service_fn(move |_| {
        let token = AccessToken::bearer(*source.lock().unwrap()).map(AccessToken::with_unknown_age);
        ready(token)
    });
    let refresher = AuthRefresher::builder(login).build().unwrap();
    refresher.ready().await.unwrap();
    *current.lock().unwrap() = "replaced";
    let mut client =
        AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(accepts("Bearer replaced"));
    assert_eq!(client.call(request()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn discarded_login_does_not_fail_a_caller_with_an_earlier_error() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        match n {
            2 => Err("down".into()),
            3 => {
                sleep(Duration::from_millis(200)).await;
                token(n, HOUR)
            }
            _ => token(n, HOUR),
        }
    });
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(300)).await;
    while logins.started() < 3 {
        sleep(Duration::from_millis(10)).await;
    }
    refresher.invalidate();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t4");
}
