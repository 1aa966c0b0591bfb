//! When the worker refreshes: always, until the refresher is idle, or only on demand.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{HOUR, MockLogin, WORKER_TASKS, alive_tasks, request, secs, send, token};
use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefresh, AuthRefresher, Expiry, State};

fn refresher(logins: &MockLogin, pause_when_idle: Option<Duration>) -> AuthRefresher {
    let builder = logins.builder(|n| async move {
        sleep(secs(1)).await;
        token(n, HOUR)
    });
    match pause_when_idle {
        Some(after) => builder.pause_when_idle(after).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn unused_refresher_never_logs_in() {
    let logins = MockLogin::default();
    let _unused = refresher(&logins, None);
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 0);
}

#[tokio::test(start_paused = true)]
async fn token_without_requests_is_refreshed_by_default() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, None);
    send(&refresher).await.unwrap();
    sleep(24 * HOUR).await;
    // One refresh every 55 minutes.
    assert_eq!(logins.started(), 1 + 26);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t27");
}

#[tokio::test(start_paused = true)]
async fn refreshes_pause_when_idle_and_resume_on_request() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(3 * HOUR));
    send(&refresher).await.unwrap();
    sleep(24 * HOUR).await;
    // The worker refreshes after 55, 110 and 165 minutes, and not after 220.
    assert_eq!(logins.started(), 4);
    assert_eq!(refresher.status().state, State::Idle);

    assert_eq!(send(&refresher).await.unwrap(), "Bearer t5");
    sleep(HOUR).await;
    assert_eq!(logins.started(), 6);
}

#[tokio::test(start_paused = true)]
async fn refreshes_with_steady_requests_do_not_pause() {
    for pause in [secs(600), HOUR, 3 * HOUR] {
        let logins = MockLogin::default();
        let refresher = refresher(&logins, Some(pause));
        send(&refresher).await.unwrap();
        let start = Instant::now();
        while start.elapsed() < 24 * HOUR {
            let before = Instant::now();
            send(&refresher).await.unwrap();
            assert_eq!(before.elapsed(), Duration::ZERO, "a request waited");
            sleep(secs(300)).await;
        }
        assert_eq!(logins.started(), 1 + 26, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_after_pause_uses_live_token_and_refreshes_it() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(secs(600)));
    send(&refresher).await.unwrap();
    // The refresh is due, but no request needs the token.
    sleep(HOUR - secs(100)).await;
    assert_eq!(logins.started(), 1);
    let before = Instant::now();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(before.elapsed(), Duration::ZERO);
    sleep(secs(2)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn zero_idle_time_refreshes_on_demand_only() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(Duration::ZERO));
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    sleep(HOUR - secs(400)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 1);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");

    // When the refresh is due, a request uses the current token and starts a refresh in the background.
    sleep(HOUR - secs(200)).await;
    assert_eq!(logins.started(), 2);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    sleep(secs(2)).await;
    assert_eq!(logins.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_request_refreshes_an_initial_token_inside_the_lead() {
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move { token(n, HOUR) })
        .pause_when_idle(Duration::ZERO)
        .initial_token(token(0, HOUR).unwrap())
        .build()
        .unwrap();
    sleep(HOUR - secs(200)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t0");
    sleep(secs(2)).await;
    assert_eq!(logins.started(), 1);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn login_can_use_idle_token_of_its_own_refresher() {
    let self_handle = std::sync::Arc::new(std::sync::OnceLock::<AuthRefresher>::new());
    let handle = self_handle.clone();
    let logins = MockLogin::default();
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
    self_handle.set(refresher.clone()).unwrap();
    send(&refresher).await.unwrap();
    sleep(HOUR - secs(200)).await;
    assert_eq!((logins.started(), refresher.status().consecutive_failures), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn invalidated_idle_token_is_replaced_on_next_request() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(secs(600)));
    send(&refresher).await.unwrap();
    sleep(HOUR - secs(100)).await;
    refresher.invalidate();
    sleep(secs(10)).await;
    assert_eq!(logins.started(), 1, "the worker logged in without a request");
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn idle_time_counts_from_first_request() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(3 * HOUR));
    sleep(24 * HOUR).await;
    send(&refresher).await.unwrap();
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 4);
}

#[tokio::test(start_paused = true)]
async fn resumed_refreshes_pause_at_next_idle_time() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(secs(600)));
    send(&refresher).await.unwrap();
    for resumed in 1..4 {
        // The refresh is due, so the request starts it in the background.
        sleep(HOUR - secs(100)).await;
        assert_eq!(logins.started(), resumed);
        send(&refresher).await.unwrap();
        sleep(secs(2)).await;
        assert_eq!(logins.started(), resumed + 1);
    }
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(), 4);
}

#[tokio::test(start_paused = true)]
async fn unused_token_without_expiry_ends_the_worker() {
    for pause in [Duration::ZERO, secs(600)] {
        let refresher = MockLogin::default()
            .builder(|n| async move { Ok(token(n, HOUR)?.with_expiry(Expiry::Never)) })
            .pause_when_idle(pause)
            .build()
            .unwrap();
        for _ in 0..3 {
            // The token is still used after each pause.
            assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
            assert_eq!(alive_tasks().await, WORKER_TASKS);
            sleep(secs(1300)).await;
            assert_eq!(
                (refresher.status().state, alive_tasks().await),
                (State::Idle, 0),
                "{pause:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_of_a_used_token_logs_in() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(secs(600)));
    let rejects = Arc::new(AtomicBool::new(false));
    let now = rejects.clone();
    let mut client = AuthRefresh::new(
        service_fn(move |_: Request<()>| {
            let status = if now.load(SeqCst) { 401 } else { 200 };
            ready(Response::builder().status(status).body(()).map_err(BoxError::from))
        }),
        refresher.clone(),
    );
    for _ in 0..20 {
        client.ready().await.unwrap().call(request()).await.unwrap();
        sleep(secs(60)).await;
    }
    rejects.store(true, SeqCst);
    client.ready().await.unwrap().call(request()).await.unwrap();
    sleep(secs(2)).await;
    assert_eq!((logins.started(), refresher.status().state), (2, State::Ready));
}

#[tokio::test(start_paused = true)]
async fn early_use_does_not_cause_refresh() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins, Some(secs(600)));
    refresher.ready().await.unwrap();
    sleep(secs(100)).await;
    // A poll of the state, not a read of the cell.
    refresher.ready().await.unwrap();
    sleep(2 * HOUR).await;
    assert_eq!((logins.started(), refresher.status().state), (1, State::Idle));
}
