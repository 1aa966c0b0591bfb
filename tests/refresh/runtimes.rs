//! Logins across runtimes that end, tasks that block and callers that are dropped.

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

use crate::support::{
    HOUR, MockLogin, WORKER_TASKS, alive_tasks, client, request, secs, send, token,
};
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
async fn caller_timeout_does_not_cancel_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(Duration::from_millis(200)).await;
        token(n, HOUR)
    });
    let client = TimeoutLayer::new(Duration::from_millis(50)).layer(client(&refresher));
    let error = client.clone().oneshot(request()).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    sleep(Duration::from_millis(200)).await;
    assert_eq!(client.oneshot(request()).await.unwrap().into_body(), "Bearer t1");
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropped_first_caller_leaves_login_to_others() {
    let logins = MockLogin::default();
    let (release, released) = oneshot::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(Some(released)));
    let refresher = logins.refresher(move |n| {
        let released = released.lock().unwrap().take();
        async move {
            released.ok_or("logged in twice")?.await?;
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
    release.send(()).unwrap();
    assert_eq!(second.await.unwrap().unwrap().into_body(), "Bearer t1");
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn login_finished_at_any_poll_wakes_caller() {
    // The login finishes after this number of polls of its task. The test polls the caller between them.
    for polls in 0..20 {
        for polled_before in 0..5 {
            let refresher = MockLogin::default().refresher(move |n| async move {
                for _ in 0..polls {
                    yield_now().await;
                }
                token(n, HOUR)
            });
            let mut call = tokio_test::task::spawn(client(&refresher).oneshot(request()));
            let mut polled = 0;
            let response = loop {
                let woken = polled <= polled_before || call.is_woken();
                polled += 1;
                if woken && let Poll::Ready(response) = call.poll() {
                    break response;
                }
                assert!(
                    polled < 100,
                    "never woken: login polls {polls}, polled before {polled_before}"
                );
                yield_now().await;
            };
            assert_eq!(response.unwrap().into_body(), "Bearer t1");
        }
    }
}

#[test]
fn login_in_spawn_blocking_does_not_stall_runtime() {
    let runtime = current_thread();
    runtime.block_on(async {
        let (tick, ticked) = mpsc::channel::<()>();
        let ticked = Arc::new(std::sync::Mutex::new(Some(ticked)));
        let refresher = MockLogin::default().refresher(move |n| {
            let ticked = ticked.lock().unwrap().take();
            async move {
                tokio::task::spawn_blocking(move || {
                    // Block until the only thread of the runtime has run another task.
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
fn expired_token_of_ended_runtime_is_not_used() {
    let logins = MockLogin::default();
    let clock = crate::support::TestClock::default();
    let refresher =
        logins.builder(|n| async move { token(n, HOUR) }).clock(clock.clone()).build().unwrap();
    let first = current_thread();
    assert_eq!(first.block_on(send(&refresher)).unwrap(), "Bearer t1");
    drop(first);
    assert_eq!(refresher.status().state, State::Idle);
    clock.advance(secs(3601));
    assert_eq!(current_thread().block_on(send(&refresher)).unwrap(), "Bearer t2");
}

#[test]
fn backoff_continues_after_runtime_ends() {
    let logins = MockLogin::default();
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
fn waiting_call_restarts_login_when_worker_runtime_ends() {
    let logins = MockLogin::default();
    let started = Arc::new(AtomicUsize::new(0));
    let counter = started.clone();
    let refresher = logins.refresher(move |n| {
        counter.fetch_add(1, SeqCst);
        async move { if n == 1 { std::future::pending().await } else { token(n, HOUR) } }
    });
    let (first, second) = (current_thread(), current_thread());
    // The worker runs on the first runtime, where its login hangs.
    first.block_on(async {
        let mut call = pin!(send(&refresher));
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            cx.waker().wake_by_ref();
            if started.load(SeqCst) == 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    // A call on the second runtime waits for that login until the first runtime ends.
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
fn login_aborted_with_runtime_is_followed_by_backoff() {
    let logins = MockLogin::default();
    let refresher =
        logins.builder(|_| std::future::pending()).backoff(secs(3600), secs(3600)).build().unwrap();
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

/// A clock that panics in the worker's task, and counts that.
#[derive(Clone, Debug, Default)]
struct PanicsInTask(Arc<AtomicUsize>);

impl tower_auth_refresh::Clock for PanicsInTask {
    fn now(&self) -> std::time::SystemTime {
        if tokio::task::try_id().is_some() {
            self.0.fetch_add(1, SeqCst);
            panic!("the worker read the clock");
        }
        std::time::SystemTime::now()
    }
}

#[test]
fn caller_fails_after_three_worker_aborts() {
    let clock = PanicsInTask::default();
    let builder = MockLogin::default().builder(|n| async move { token(n, HOUR) });
    let refresher = builder.clock(clock.clone()).build().unwrap();
    for call in 1..=2 {
        let error = current_thread().block_on(refresher.token()).unwrap_err();
        assert_eq!(error.to_string(), "worker aborted by its runtime");
        assert_eq!(clock.0.load(SeqCst), 3 * call);
    }
}

#[tokio::test(start_paused = true)]
async fn status_before_next_login_is_logging_in() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    refresher.ready().await.unwrap();
    refresher.invalidate();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(refresher.status().state, State::LoggingIn);
}

#[tokio::test(start_paused = true)]
async fn status_receiver_does_not_keep_worker_alive() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    let mut status = refresher.subscribe();
    send(&refresher).await.unwrap();
    assert_eq!(alive_tasks().await, WORKER_TASKS);
    drop(refresher);
    while status.changed().await.is_ok() {}
    yield_now().await;
    assert_eq!(alive_tasks().await, 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_fails_waiting_calls_and_aborts_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| std::future::pending());
    let waiting = tokio::spawn(client(&refresher).oneshot(request()));
    sleep(secs(1)).await;
    assert_eq!(logins.running(), 1);
    refresher.shutdown();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(crate::support::cause(error), "refresher shut down");
    assert_eq!((logins.running(), alive_tasks().await), (0, 0));
}
