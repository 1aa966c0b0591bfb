//! Refreshing in the background, pausing when nobody asks, or only ever when somebody does.

#[path = "support/lifecycle.rs"]
mod harness;

use std::time::Duration;

use harness::{HOUR, Logins, secs, send, token};
use tokio::time::{Instant, sleep};
use tower_auth_refresh::{AuthRefresher, State};

fn refresher(logins: &Logins, pause: Option<Duration>) -> AuthRefresher {
    let builder = logins.builder(|n| async move {
        sleep(secs(1)).await;
        token(n, HOUR)
    });
    match pause {
        Some(pause) => builder.pause_when_idle(pause).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_logs_in_before_the_first_request() {
    let logins = Logins::default();
    let _unused = refresher(&logins, None);
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_fresh_without_requests_by_default() {
    let logins = Logins::default();
    let refresher = refresher(&logins, None);
    send(&refresher).await.unwrap();
    sleep(24 * HOUR).await;
    // One every 55 minutes.
    assert_eq!(logins.started(), 1 + 26);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t27");
}

#[tokio::test(start_paused = true)]
async fn refreshes_stop_when_nobody_has_asked_for_long_and_the_next_request_resumes_them() {
    let logins = Logins::default();
    let refresher = refresher(&logins, Some(3 * HOUR));
    send(&refresher).await.unwrap();
    sleep(24 * HOUR).await;
    // After 55, 110 and 165 minutes; not after 220.
    assert_eq!(logins.started(), 4);
    assert_eq!(refresher.status().state, State::Idle);

    assert_eq!(send(&refresher).await.unwrap(), "Bearer t5");
    sleep(HOUR).await;
    assert_eq!(logins.started(), 6);
}

#[tokio::test(start_paused = true)]
async fn refreshes_do_not_pause_while_somebody_asks() {
    for pause in [secs(600), HOUR, 3 * HOUR] {
        let logins = Logins::default();
        let refresher = refresher(&logins, Some(pause));
        send(&refresher).await.unwrap();
        let start = Instant::now();
        while start.elapsed() < 24 * HOUR {
            let before = Instant::now();
            send(&refresher).await.unwrap();
            assert_eq!(before.elapsed(), Duration::ZERO, "no request waits");
            sleep(secs(300)).await;
        }
        assert_eq!(logins.started(), 1 + 26, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_after_a_pause_uses_the_token_while_it_is_good_and_has_it_refreshed() {
    let logins = Logins::default();
    let refresher = refresher(&logins, Some(secs(600)));
    send(&refresher).await.unwrap();
    // In the lead: due for a refresh, but not asked for.
    sleep(HOUR - secs(100)).await;
    assert_eq!(logins.started(), 1);
    let before = Instant::now();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(before.elapsed(), Duration::ZERO);
    sleep(secs(2)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn with_a_pause_of_zero_a_token_is_refreshed_on_demand_only() {
    let logins = Logins::default();
    let refresher = refresher(&logins, Some(Duration::ZERO));
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    sleep(HOUR - secs(400)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 1);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");

    // Between the time to refresh and the end, a request goes out at once and has the token refreshed behind it.
    sleep(HOUR - secs(200)).await;
    assert_eq!(logins.started(), 2);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    sleep(secs(2)).await;
    assert_eq!(logins.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_login_may_use_the_token_that_lies_idle() {
    let own = std::sync::Arc::new(std::sync::OnceLock::<AuthRefresher>::new());
    let handle = own.clone();
    let logins = Logins::default();
    let refresher = logins
        .builder(move |n| {
            let handle = handle.clone();
            async move {
                if n > 1 {
                    handle.get().unwrap().token().await?;
                }
                token(n, HOUR)
            }
        })
        .pause_when_idle(HOUR)
        .build()
        .unwrap();
    own.set(refresher.clone()).unwrap();
    send(&refresher).await.unwrap();
    sleep(HOUR - secs(200)).await;
    assert_eq!((logins.started(), refresher.status().consecutive_failures), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_token_can_be_invalidated() {
    let logins = Logins::default();
    let refresher = refresher(&logins, Some(secs(600)));
    send(&refresher).await.unwrap();
    sleep(HOUR - secs(100)).await;
    refresher.invalidate();
    sleep(secs(10)).await;
    assert_eq!(logins.started(), 1, "nobody asks");
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}
#[tokio::test(start_paused = true)]
async fn the_time_counts_from_the_first_request_however_late_it_comes() {
    let logins = Logins::default();
    let refresher = refresher(&logins, Some(3 * HOUR));
    sleep(24 * HOUR).await;
    send(&refresher).await.unwrap();
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 4);
}

#[tokio::test(start_paused = true)]
async fn refreshes_pause_again_after_a_request_has_resumed_them() {
    let logins = Logins::default();
    let refresher = refresher(&logins, Some(secs(600)));
    send(&refresher).await.unwrap();
    for resumed in 1..4 {
        // In the lead, so that the request has the token refreshed behind it.
        sleep(HOUR - secs(100)).await;
        assert_eq!(logins.started(), resumed);
        send(&refresher).await.unwrap();
        sleep(secs(2)).await;
        assert_eq!(logins.started(), resumed + 1);
    }
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 4);
}
