//! The lifecycle of a token: first login, refresh, failure, invalidation and shutdown. Most tests run in paused time.

use std::{future::pending, sync::Arc, time::Duration};

use crate::support::{
    HOUR, MockLogin, WORKER_TASKS, alive_tasks, chain, client, request, secs, send, token,
};
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, advance, sleep},
};
use tower::ServiceExt;
use tower_auth_refresh::{AuthRefresher, Error, LoginReason, State};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_first_requests_cause_one_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        // Let every other request start to wait before the login finishes.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        token(n, HOUR)
    });
    let client = client(&refresher);
    let barrier = Arc::new(Barrier::new(1000));
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let (client, barrier) = (client.clone(), barrier.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            client.oneshot(request()).await.unwrap().into_body()
        });
    }
    let responses = tasks.join_all().await;
    assert_eq!(responses.len(), 1000);
    assert!(responses.iter().all(|response| response == "Bearer t1"));
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn token_is_refreshed_five_minutes_before_expiry() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");

    sleep(HOUR - secs(301)).await;
    assert_eq!(logins.started(), 1);
    sleep(secs(2)).await;
    assert_eq!(logins.started(), 2);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert_eq!(logins.requests()[1].reason, LoginReason::Expiring);
}

#[tokio::test(start_paused = true)]
async fn requests_during_refresh_do_not_wait() {
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move {
            if n > 1 {
                sleep(secs(60)).await;
            }
            token(n, HOUR)
        })
        .login_timeout(secs(90))
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(300)).await;

    for second in 0..60 {
        let before = Instant::now();
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t1", "second {second}");
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(secs(1)).await;
        if second == 1 {
            assert_eq!(refresher.status().state, State::Refreshing);
        }
    }
    sleep(secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_keeps_token_until_expiry_then_recovers() {
    let logins = MockLogin::default();
    let outage_ends = Instant::now() + HOUR + secs(600);
    let refresher = logins.refresher(move |n| async move {
        if n > 1 && Instant::now() < outage_ends {
            return Err("the identity provider is down".into());
        }
        token(n, HOUR)
    });
    refresher.ready().await.unwrap();

    sleep(HOUR - secs(1)).await;
    assert!(logins.started() > 3, "the worker did not retry");
    assert!(refresher.status().consecutive_failures > 2);
    assert_eq!(refresher.status().state, State::Ready);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");

    sleep(secs(2)).await;
    let error = send(&refresher).await.unwrap_err();
    let Error::Login(error) = error else { panic!("{error:?}") };
    assert_eq!(chain(&error), ["login failed", "the identity provider is down"]);
    assert_eq!(refresher.status().state, State::Failed);

    sleep(secs(600 + 60)).await;
    assert_eq!(send(&refresher).await.unwrap(), format!("Bearer t{}", logins.started()));
    assert_eq!(refresher.status().consecutive_failures, 0);
    assert!(refresher.status().last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn waiting_callers_share_failure_later_ones_fail_fast() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| async {
        sleep(secs(5)).await;
        Err("no".into())
    });
    let start = Instant::now();
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let refresher = refresher.clone();
        waiting.spawn(async move { (send(&refresher).await.is_err(), start.elapsed()) });
    }
    for (failed, after) in waiting.join_all().await {
        assert!(failed);
        assert_eq!(after.as_secs(), 5);
    }
    assert_eq!(logins.started(), 1);

    let before = Instant::now();
    assert!(send(&refresher).await.is_err());
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropped_caller_does_not_cancel_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(Duration::from_millis(200)).await;
        token(n, HOUR)
    });
    let result = tokio::time::timeout(Duration::from_millis(50), send(&refresher)).await;
    assert!(result.is_err());
    sleep(Duration::from_millis(200)).await;
    let before = Instant::now();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn wait_for_token_times_out_after_ten_seconds() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| pending());
    let start = Instant::now();
    let Err(Error::Login(error)) = send(&refresher).await else { panic!("unexpected token") };
    assert!(error.is_timeout(), "{error}");
    assert_eq!(start.elapsed(), secs(10));
}

#[tokio::test(start_paused = true)]
async fn hanging_login_times_out_and_is_retried() {
    let logins = MockLogin::default();
    let refresher =
        logins.refresher(|n| async move { if n == 1 { pending().await } else { token(n, HOUR) } });
    assert!(send(&refresher).await.is_err());
    sleep(secs(22)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert_eq!(logins.requests()[1].attempt, 2);
    assert_eq!(logins.max_concurrent(), 1);
}

#[tokio::test(start_paused = true)]
async fn panicking_login_fails_and_is_retried() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        assert!(n > 1, "the first login panics");
        token(n, HOUR)
    });
    let Err(Error::Login(error)) = send(&refresher).await else { panic!("unexpected token") };
    assert_eq!(error.to_string(), "login service panicked");
    sleep(secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn forced_refresh_returns_token_and_next_refresh_time() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    refresher.ready().await.unwrap();
    let refreshed = refresher.refresh().await.unwrap();
    assert_eq!(refreshed.token.header_value(), "Bearer t2");
    assert_eq!(refreshed.next_refresh, Some(HOUR - secs(300)));
    assert_eq!(logins.requests()[1].reason, LoginReason::Forced);
}

#[tokio::test(start_paused = true)]
async fn forced_refresh_joins_running_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(secs(2)).await;
        token(n, HOUR)
    });
    let (first, joined) = tokio::join!(refresher.ready(), async {
        sleep(secs(1)).await;
        refresher.refresh().await.unwrap()
    });
    first.unwrap();
    assert_eq!(joined.token.header_value(), "Bearer t1");
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn invalidated_token_is_replaced_before_next_request() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    refresher.invalidate();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert!(matches!(logins.requests()[1].reason, LoginReason::Rejected { .. }));
    assert_eq!(refresher.status().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn login_started_before_invalidation_is_discarded() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        if n > 1 {
            sleep(secs(2)).await;
        }
        token(n, HOUR)
    });
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(300)).await;
    sleep(secs(1)).await;
    assert_eq!(refresher.status().state, State::Refreshing);
    refresher.invalidate();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t3");
    assert_eq!(logins.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn refresher_after_shutdown_never_logs_in() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    refresher.ready().await.unwrap();
    refresher.shutdown();
    let Err(Error::Login(error)) = send(&refresher).await else { panic!("unexpected token") };
    assert!(error.is_shut_down());
    assert!(refresher.refresh().await.unwrap_err().is_shut_down());
    assert_eq!(refresher.status().state, State::ShutDown);
    sleep(2 * HOUR).await;
    assert_eq!(logins.started(), 1);
    assert_eq!(alive_tasks().await, 0);
}

#[tokio::test(start_paused = true)]
async fn layers_of_one_refresher_share_token_and_worker() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    let (one, other) = (client(&refresher), client(&refresher));
    for client in [one.clone(), one, other.clone(), other] {
        assert_eq!(client.oneshot(request()).await.unwrap().into_body(), "Bearer t1");
    }
    assert_eq!(logins.started(), 1);
    assert_eq!(alive_tasks().await, WORKER_TASKS);
}

#[tokio::test(start_paused = true)]
async fn last_handle_dropped_aborts_worker_and_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| pending());
    let client = client(&refresher);
    let waiting = tokio::spawn(client.oneshot(request()));
    sleep(secs(1)).await;
    assert_eq!((logins.running(), alive_tasks().await), (1, 1 + WORKER_TASKS));

    waiting.abort();
    drop(refresher);
    assert!(waiting.await.unwrap_err().is_cancelled());
    advance(Duration::from_millis(1)).await;
    assert_eq!((logins.running(), alive_tasks().await), (0, 0));
}

#[test]
fn refresher_needs_no_runtime_before_first_use() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    let client = client(&refresher);
    let (one, other) = (client.clone(), client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(one.oneshot(request()).await.unwrap().into_body(), "Bearer t1");
        assert_eq!(other.oneshot(request()).await.unwrap().into_body(), "Bearer t1");
        assert_eq!(alive_tasks().await, WORKER_TASKS);
        drop(refresher);
        tokio::task::yield_now().await;
        assert_eq!(alive_tasks().await, 0);
    });
    assert_eq!(logins.started(), 1);
}

#[test]
fn wait_without_runtime_fails_and_names_cause() {
    let refresher =
        AuthRefresher::new(MockLogin::default().service(|n| async move { token(n, HOUR) }));
    let mut wait = tokio_test::task::spawn(refresher.token());
    // The timer of `wait_timeout` would panic without a runtime.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait.poll()));
    let std::task::Poll::Ready(Err(error)) = outcome.expect("the wait panicked") else {
        panic!("the wait is pending or returned a token")
    };
    assert_eq!(error.to_string(), "login requires a tokio runtime");
}

#[test]
fn login_aborted_with_runtime_restarts_on_next_runtime() {
    let logins = MockLogin::default();
    let refresher =
        logins.refresher(|n| async move { if n == 1 { pending().await } else { token(n, HOUR) } });
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let first = runtime();
    first.block_on(async {
        tokio::select! {
            _ = send(&refresher) => panic!("the hanging login returned"),
            () = async { while logins.running() == 0 { tokio::task::yield_now().await } } => {}
        }
    });
    drop(first);
    assert_eq!(logins.running(), 0);
    assert_eq!(refresher.status().state, State::Idle);

    let second = runtime();
    assert_eq!(second.block_on(send(&refresher)).unwrap(), "Bearer t2");
    drop(second);
    assert_eq!(runtime().block_on(send(&refresher)).unwrap(), "Bearer t2");
    assert_eq!(logins.started(), 2, "the third runtime must use the unexpired token");
}
