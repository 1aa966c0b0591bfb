//! Runtimes, tasks, and callers that come and go.

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::Poll,
    time::Duration,
};

use harness::{HOUR, Logins, WORKER_TASKS, alive_tasks, client, request, secs, send, token};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::yield_now,
    time::sleep,
};
use tower::{Layer, ServiceExt, timeout::TimeoutLayer};
use tower_auth_refresh::{AccessToken, BoxError, State};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_callers_deadline_does_not_govern_the_login() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move {
        sleep(Duration::from_millis(200)).await;
        token(n, HOUR)
    });
    let hasty = TimeoutLayer::new(Duration::from_millis(50)).layer(client(&refresher));
    let error = hasty.clone().oneshot(request()).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    sleep(Duration::from_millis(200)).await;
    assert_eq!(hasty.oneshot(request()).await.unwrap().into_body(), "Bearer t1");
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_caller_that_caused_a_login_can_leave_and_the_others_get_its_token() {
    let logins = Logins::default();
    let (answer, answered) = oneshot::channel::<()>();
    let answered = Arc::new(std::sync::Mutex::new(Some(answered)));
    let refresher = logins.refresher(move |n| {
        let answered = answered.lock().unwrap().take();
        async move {
            answered.ok_or("logged in twice")?.await?;
            token(n, HOUR)
        }
    });
    let mut first = tokio_test::task::spawn(client(&refresher).oneshot(request()));
    assert!(first.poll().is_pending());
    while logins.running() == 0 {
        yield_now().await;
    }
    let second = tokio::spawn(client(&refresher).oneshot(request()));
    yield_now().await;
    drop(first);
    answer.send(()).unwrap();
    assert_eq!(second.await.unwrap().unwrap().into_body(), "Bearer t1");
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_wake_up_is_lost_whenever_the_login_ends() {
    // The login ends after so many polls of its task; the caller is polled between any two.
    for polls in 0..20 {
        for polled_before in 0..5 {
            let refresher = Logins::default().refresher(move |n| async move {
                for _ in 0..polls {
                    yield_now().await;
                }
                token(n, HOUR)
            });
            let mut call = tokio_test::task::spawn(client(&refresher).oneshot(request()));
            let mut polled = 0;
            let answer = loop {
                let woken = polled <= polled_before || call.is_woken();
                polled += 1;
                if woken && let Poll::Ready(answer) = call.poll() {
                    break answer;
                }
                assert!(polled < 100, "{polls} {polled_before}: never woken");
                yield_now().await;
            };
            assert_eq!(answer.unwrap().into_body(), "Bearer t1");
        }
    }
}

#[test]
fn a_login_that_blocks_in_a_thread_of_its_own_stops_nothing_else() {
    let runtime = current_thread();
    runtime.block_on(async {
        let (tick, ticked) = mpsc::channel::<()>();
        let ticked = Arc::new(std::sync::Mutex::new(Some(ticked)));
        let refresher = Logins::default().refresher(move |n| {
            let ticked = ticked.lock().unwrap().take();
            async move {
                tokio::task::spawn_blocking(move || {
                    // Blocks until the runtime's only thread has had time for something else.
                    ticked.ok_or("logged in twice")?.recv_timeout(secs(60))?;
                    token(n, HOUR)
                })
                .await?
            }
        });
        let ticker = tokio::spawn(async move {
            yield_now().await;
            tick.send(()).unwrap();
        });
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
        ticker.await.unwrap();
    });
}

#[test]
fn a_worker_whose_runtime_has_ended_leaves_no_token_that_nobody_watches() {
    let logins = Logins::default();
    let clock = harness::TestClock::default();
    let refresher = logins.builder(|n| async move { token(n, HOUR) }).clock(clock.clone()).build().unwrap();
    let first = current_thread();
    assert_eq!(first.block_on(send(&refresher)).unwrap(), "Bearer t1");
    drop(first);
    assert_eq!(refresher.status().state, State::Idle);
    clock.set(3601);
    assert_eq!(current_thread().block_on(send(&refresher)).unwrap(), "Bearer t2");
}

#[test]
fn pauses_outlive_a_runtime() {
    let logins = Logins::default();
    let refresher = logins
        .builder(|_| async { Err::<AccessToken, BoxError>("down".into()) })
        .backoff(secs(3600), secs(3600))
        .build()
        .unwrap();
    for _ in 0..5 {
        assert!(current_thread().block_on(send(&refresher)).is_err());
    }
    assert_eq!(logins.started(), 1);
}

#[test]
fn a_caller_on_another_runtime_takes_over_when_the_workers_runtime_ends() {
    let logins = Logins::default();
    let hangs = Arc::new(AtomicUsize::new(0));
    let started = hangs.clone();
    let refresher = logins.refresher(move |n| {
        started.fetch_add(1, SeqCst);
        async move { if n == 1 { std::future::pending().await } else { token(n, HOUR) } }
    });
    let (first, second) = (current_thread(), current_thread());
    // The worker runs on the first runtime, where its login hangs.
    first.block_on(async {
        let mut call = pin!(send(&refresher));
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            cx.waker().wake_by_ref();
            if hangs.load(SeqCst) == 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    // A call on the second waits for it, until the first ends.
    let mut call = tokio_test::task::spawn(client(&refresher).oneshot(request()));
    {
        let _entered = second.enter();
        assert!(call.poll().is_pending());
    }
    drop(first);
    assert!(call.is_woken());
    assert_eq!(second.block_on(call).unwrap().into_body(), "Bearer t2");
}

#[test]
fn logins_that_are_dropped_with_their_runtimes_are_kept_apart_too() {
    let logins = Logins::default();
    let refresher = logins.builder(|_| std::future::pending()).backoff(secs(3600), secs(3600)).build().unwrap();
    for _ in 0..10 {
        let runtime = current_thread();
        runtime.block_on(async {
            let mut call = tokio_test::task::spawn(send(&refresher));
            for _ in 0..10 {
                assert!(call.poll().is_pending());
                yield_now().await;
            }
        });
    }
    assert_eq!(logins.started(), 1);
}

/// A clock that cannot be read on the worker's task.
#[derive(Debug)]
struct Forbidden;

impl tower_auth_refresh::Clock for Forbidden {
    fn now(&self) -> std::time::SystemTime {
        assert!(tokio::task::try_id().is_none(), "read by the worker");
        std::time::SystemTime::now()
    }
}

#[test]
fn a_caller_gives_up_on_workers_that_cannot_live() {
    let refresher = Logins::default().builder(|n| async move { token(n, HOUR) }).clock(Forbidden).build().unwrap();
    for _ in 0..2 {
        let error = current_thread().block_on(refresher.token()).unwrap_err();
        assert_eq!(error.to_string(), "worker aborted by its runtime");
    }
}

#[tokio::test(start_paused = true)]
async fn between_two_logins_the_state_says_that_one_is_about_to_start() {
    let refresher = Logins::default().refresher(|n| async move { token(n, HOUR) });
    refresher.ready().await.unwrap();
    refresher.invalidate();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(refresher.status().state, State::LoggingIn);
}

#[tokio::test(start_paused = true)]
async fn handles_that_only_watch_do_not_keep_the_worker() {
    let refresher = Logins::default().refresher(|n| async move { token(n, HOUR) });
    let mut status = refresher.subscribe();
    send(&refresher).await.unwrap();
    assert_eq!(alive_tasks().await, WORKER_TASKS);
    drop(refresher);
    while status.changed().await.is_ok() {}
    yield_now().await;
    assert_eq!(alive_tasks().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_mid_login_fails_those_who_wait_and_drops_the_login() {
    let logins = Logins::default();
    let refresher = logins.refresher(|_| std::future::pending());
    let waiting = tokio::spawn(client(&refresher).oneshot(request()));
    sleep(secs(1)).await;
    assert_eq!(logins.running(), 1);
    refresher.shutdown();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(harness::cause(error), "refresher shut down");
    assert_eq!((logins.running(), alive_tasks().await), (0, 0));
}
