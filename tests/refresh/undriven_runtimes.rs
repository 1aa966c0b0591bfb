//! Runtimes that are not driven all the time: never an expired token, and never a caller that waits for a worker that
//! cannot run.
//!
//! A current-thread runtime stands still between two `block_on` calls. These tests advance its paused clock without
//! driving it, so they need no sleep.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::support::{
    HOUR, MockLogin, TestClock, WORKER_TASKS, alive_tasks, chain, request, secs, send, token,
};
use http::{Request, Response, header::AUTHORIZATION};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefresh, AuthRefresher, AuthRefresherBuilder, LoginError, State,
};

const LIFETIME: Duration = secs(2);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Polls a future once.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Advances the clock, and runs no task of the runtime.
fn block_thread(duration: Duration) {
    assert!(poll_once(tokio::time::advance(duration)).is_pending());
}

/// Advances the clock of a runtime that is not driven.
fn stand_still(runtime: &Runtime, duration: Duration) {
    runtime.block_on(async { block_thread(duration) });
}

/// Tokens of 2 seconds, and when each was issued.
#[derive(Clone, Default)]
struct Issuer {
    logins: MockLogin,
    issued_at: Arc<Mutex<Vec<Instant>>>,
}

impl Issuer {
    fn builder(&self) -> AuthRefresherBuilder {
        let issued_at = self.issued_at.clone();
        self.logins.builder(move |n| {
            issued_at.lock().unwrap().push(Instant::now());
            async move { token(n, LIFETIME) }
        })
    }

    fn assert_live(&self, header: &str) {
        let n: usize = header.strip_prefix("Bearer t").unwrap().parse().unwrap();
        let age = self.issued_at.lock().unwrap()[n - 1].elapsed();
        assert!(age < LIFETIME, "{header} was sent {age:?} after it was issued");
    }

    /// A client whose server accepts live tokens only.
    fn client(
        &self,
        refresher: &AuthRefresher,
    ) -> AuthRefresh<
        impl Service<Request<()>, Response = Response<()>, Error = BoxError, Future: Send>
        + Clone
        + use<>,
    > {
        let issuer = self.clone();
        let server = service_fn(move |request: Request<()>| {
            issuer.assert_live(request.headers()[AUTHORIZATION].to_str().unwrap());
            async { Ok::<_, BoxError>(Response::new(())) }
        });
        AuthRefresh::new(server, refresher.clone())
    }
}

#[test]
fn call_per_block_on_always_carries_a_live_token() {
    for pause_when_idle in [None, Some(Duration::ZERO)] {
        let (issuer, runtime) = (Issuer::default(), current_thread());
        let builder = issuer.builder();
        let refresher = match pause_when_idle {
            Some(after) => builder.pause_when_idle(after).build().unwrap(),
            None => builder.build().unwrap(),
        };
        let mut long_lived = issuer.client(&refresher);
        for _ in 0..5 {
            for _ in 0..4 {
                // Some of these calls use the header that the service has cached.
                runtime.block_on(long_lived.ready()).unwrap();
                runtime.block_on(long_lived.call(request())).unwrap();
            }
            runtime.block_on(issuer.client(&refresher).oneshot(request())).unwrap();
            stand_still(&runtime, 2 * LIFETIME);
        }
        assert_eq!(issuer.logins.started(), 5, "one for each pause");
    }
}

#[test]
fn token_per_block_on_is_always_live() {
    let (issuer, runtime) = (Issuer::default(), current_thread());
    let refresher = issuer.builder().build().unwrap();
    for _ in 0..5 {
        let token = runtime.block_on(refresher.token()).unwrap();
        runtime.block_on(async { issuer.assert_live(token.header_value().to_str().unwrap()) });
        stand_still(&runtime, 2 * LIFETIME);
    }
}

#[test]
fn blocked_thread_does_not_send_an_expired_token() {
    let (issuer, runtime) = (Issuer::default(), current_thread());
    let refresher = issuer.builder().build().unwrap();
    runtime.block_on(async {
        let mut client = issuer.client(&refresher);
        for _ in 0..4 {
            for _ in 0..4 {
                client.ready().await.unwrap().call(request()).await.unwrap();
            }
            block_thread(2 * LIFETIME);
        }
    });
}

#[test]
fn blocked_thread_after_a_clock_jump_does_not_send_an_expired_token() {
    let (logins, clock, runtime) = (MockLogin::default(), TestClock::default(), current_thread());
    let refresher =
        logins.builder(|n| async move { token(n, HOUR) }).clock(clock.clone()).build().unwrap();
    runtime.block_on(async {
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
        clock.advance(secs(1800));
        sleep(secs(20)).await;
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
        block_thread(secs(1800));
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    });
}

#[test]
fn status_of_an_expired_token_is_not_ready() {
    let (issuer, runtime) = (Issuer::default(), current_thread());
    let refresher = issuer.builder().build().unwrap();
    runtime.block_on(refresher.ready()).unwrap();
    let statuses = refresher.subscribe();
    runtime.block_on(async {
        assert_eq!(
            (refresher.status().state, statuses.borrow().state),
            (State::Ready, State::Ready)
        );
        block_thread(LIFETIME);
        assert_eq!(statuses.borrow().state, State::LoggingIn);
        assert_eq!(refresher.status().state, State::LoggingIn);
    });
}

#[test]
fn worker_on_a_runtime_that_is_never_driven_again_is_replaced() {
    let issuer = Issuer::default();
    let refresher = issuer.builder().build().unwrap();
    let startup = current_thread();
    startup.block_on(refresher.ready()).unwrap();
    let other = current_thread();
    other.block_on(async {
        let mut client = issuer.client(&refresher);
        for _ in 0..20 {
            client.ready().await.unwrap().call(request()).await.unwrap();
            assert!(matches!(refresher.status().state, State::Ready | State::Refreshing));
            sleep(Duration::from_millis(500)).await;
        }
    });
    assert!(issuer.logins.started() >= 5, "{}", issuer.logins.started());
    // The replaced worker ends when its runtime is driven again.
    startup.block_on(async { assert_eq!(alive_tasks().await, 0) });
    other.block_on(async { assert_eq!(alive_tasks().await, WORKER_TASKS) });
}

#[test]
fn worker_that_is_not_late_is_not_replaced() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    let (first, other) = (current_thread(), current_thread());
    first.block_on(refresher.ready()).unwrap();
    other.block_on(async {
        assert_eq!(refresher.token().await.unwrap().secret(), "t1");
        assert_eq!(alive_tasks().await, 0, "a worker was started here");
    });
}

#[test]
fn idle_worker_on_a_runtime_that_is_not_driven_delays_no_call() {
    // Nothing was asked of the worker before its runtime stood still.
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    let startup = current_thread();
    startup.block_on(refresher.ready()).unwrap();
    refresher.invalidate();
    current_thread().block_on(async {
        let start = Instant::now();
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
        assert!(start.elapsed() < secs(1), "waited {:?}", start.elapsed());
    });
    drop(startup);
}

#[test]
fn login_on_a_runtime_that_is_not_driven_is_named_by_the_error() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| pending());
    let startup = current_thread();
    startup.block_on(async {
        let mut call = pin!(send(&refresher));
        poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            cx.waker().wake_by_ref();
            if logins.running() == 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    let other = current_thread();
    let error = other.block_on(refresher.token()).unwrap_err();
    assert!(error.is_undriven() && error.is_timeout(), "{error}");
    let expected =
        "wait for a token timed out because the login's runtime is not driven, after 10s";
    assert_eq!(error.to_string(), expected);

    // A login that only takes long is another matter.
    let slow = MockLogin::default().refresher(|_| pending());
    let error = other.block_on(slow.token()).unwrap_err();
    assert!(error.is_timeout() && !error.is_undriven(), "{error}");
    drop(startup);
}

#[test]
fn named_runtime_drives_the_worker() {
    let logins = MockLogin::default();
    let named = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let builder = logins.builder(|n| async move { token(n, HOUR) });
    let refresher = builder.runtime(named.handle().clone()).build().unwrap();
    let startup = Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(startup.block_on(send(&refresher)).unwrap(), "Bearer t1");
    drop(startup);
    assert_eq!(
        refresher.status().state,
        State::Ready,
        "the worker has survived the caller's runtime"
    );
    assert_eq!(named.metrics().num_alive_tasks(), WORKER_TASKS);
}

#[test]
fn named_runtime_that_is_not_driven_is_named_by_the_error() {
    let (logins, named) = (MockLogin::default(), current_thread());
    let builder = logins.builder(|n| async move { token(n, HOUR) });
    let refresher = builder.runtime(named.handle().clone()).build().unwrap();
    let error = current_thread().block_on(refresher.token()).unwrap_err();
    assert!(error.is_undriven(), "{error}");
    assert_eq!(logins.started(), 0);
}

#[test]
fn wait_outside_a_runtime_fails_although_the_worker_has_one() {
    let named = current_thread();
    let builder = MockLogin::default().builder(|n| async move { token(n, HOUR) });
    let refresher = builder.runtime(named.handle().clone()).build().unwrap();
    let Poll::Ready(result) = poll_once(refresher.token()) else { panic!("a wait needs a timer") };
    assert_eq!(result.unwrap_err().to_string(), "login requires a tokio runtime");
}

#[test]
fn short_lived_runtimes_do_not_fail_a_caller_on_a_healthy_one() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(secs(1)).await;
        token(n, HOUR)
    });
    let healthy = current_thread();
    let mut call = Box::pin(send(&refresher));
    // The first worker is one of another runtime, so that the caller has to wait for it.
    let mut other = current_thread();
    other.block_on(async { assert!(poll_once(refresher.token()).is_pending()) });
    for _ in 0..10 {
        healthy.block_on(async { assert!(poll_once(call.as_mut()).is_pending()) });
        let next = current_thread();
        drop(std::mem::replace(&mut other, next));
        // The next runtime is quicker than the caller that waits.
        other.block_on(async { assert!(poll_once(refresher.token()).is_pending()) });
    }
    drop(other);
    assert_eq!(healthy.block_on(call).unwrap(), format!("Bearer t{}", logins.started()));
}

/// Polls a call until its login is under way, on the runtime that is driven.
async fn start_login(logins: &MockLogin, refresher: &AuthRefresher) {
    let before = logins.started();
    let mut call = pin!(refresher.token());
    while logins.started() == before {
        assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending());
        tokio::task::yield_now().await;
    }
}

#[test]
fn hung_login_on_a_driven_runtime_is_not_undriven() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| pending());
    let (first, other) = (current_thread(), current_thread());
    first.block_on(start_login(&logins, &refresher));
    let mut call = Box::pin(refresher.token());
    other.block_on(async { assert!(poll_once(call.as_mut()).is_pending()) });
    first.block_on(async { sleep(Duration::from_millis(9_900)).await });
    let error = other.block_on(call).unwrap_err();
    assert!(error.is_timeout() && !error.is_undriven(), "{error}");
}

#[test]
fn runtime_that_ends_does_not_fail_a_caller_with_an_earlier_error() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        if n == 1 {
            return Err("down".into());
        }
        sleep(secs(1)).await;
        token(n, HOUR)
    });
    current_thread().block_on(refresher.token()).unwrap_err();
    let (healthy, short_lived) = (current_thread(), current_thread());
    for runtime in [&healthy, &short_lived] {
        stand_still(runtime, secs(100));
    }
    short_lived.block_on(start_login(&logins, &refresher));
    let mut call = Box::pin(send(&refresher));
    healthy.block_on(async { assert!(poll_once(call.as_mut()).is_pending()) });
    drop(short_lived);
    assert_eq!(healthy.block_on(call).unwrap(), "Bearer t3");
}

#[test]
fn login_that_returns_late_on_a_runtime_that_stood_still_fails_no_call() {
    let (logins, runtime) = (MockLogin::default(), current_thread());
    let refresher = logins.refresher(|n| async move {
        sleep(Duration::from_millis(50)).await;
        token(n, LIFETIME)
    });
    for pause in [0, 1600, 4000, 1600, 4000, 4000, 4000] {
        stand_still(&runtime, Duration::from_millis(pause));
        runtime.block_on(async {
            send(&refresher).await.unwrap();
            // The refresh may be under way when the runtime stops.
            sleep(Duration::from_millis(20)).await;
        });
    }
}

#[test]
fn login_that_is_frozen_for_longer_than_a_life_or_its_limit_fails_no_call() {
    // The second login would have succeeded within its limit, or exceeds it only because of the freeze.
    for (frozen, login) in [(secs(5), Duration::from_millis(100)), (secs(40), secs(60))] {
        let (logins, runtime) = (MockLogin::default(), current_thread());
        let refresher = logins.refresher(move |n| async move {
            sleep(if n == 2 { login } else { Duration::from_millis(1) }).await;
            token(n, secs(4))
        });
        runtime.block_on(async {
            refresher.ready().await.unwrap();
            sleep(secs(3)).await;
            assert_eq!(logins.running(), 1);
            block_thread(frozen);
            assert_eq!(send(&refresher).await.unwrap(), "Bearer t3", "frozen for {frozen:?}");
        });
    }
}

#[test]
fn late_login_whose_token_is_still_valid_is_used() {
    let (logins, runtime) = (MockLogin::default(), current_thread());
    let refresher = logins.refresher(|n| async move {
        sleep(Duration::from_millis(100)).await;
        token(n, HOUR)
    });
    runtime.block_on(async {
        let mut call = Box::pin(send(&refresher));
        assert!(poll_once(call.as_mut()).is_pending());
        sleep(Duration::from_millis(10)).await;
        block_thread(secs(5));
        assert_eq!(call.await.unwrap(), "Bearer t1");
    });
    assert_eq!(logins.started(), 1);
}

#[test]
fn late_login_adds_no_pause() {
    let (logins, runtime) = (MockLogin::default(), current_thread());
    let login = |n| async move {
        sleep(Duration::from_millis(if n == 2 { 100 } else { 1 })).await;
        token(n, secs(120))
    };
    let refresher = logins.builder(login).backoff(secs(30), secs(60)).build().unwrap();
    runtime.block_on(async {
        refresher.ready().await.unwrap();
        sleep(secs(90)).await;
        assert_eq!(logins.running(), 1);
        block_thread(secs(300));
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t3");
    });
}

#[test]
fn late_login_with_a_default_lifetime_fails_no_call() {
    let (logins, runtime) = (MockLogin::default(), current_thread());
    let login = |n| async move {
        sleep(Duration::from_millis(if n == 2 { 100 } else { 1 })).await;
        Ok(AccessToken::bearer(format!("t{n}"))?)
    };
    let refresher = logins.builder(login).default_lifetime(secs(4)).build().unwrap();
    runtime.block_on(async {
        refresher.ready().await.unwrap();
        sleep(secs(3)).await;
        assert_eq!(logins.running(), 1);
        block_thread(secs(5));
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t3");
    });
}

#[test]
fn service_timeout_during_standstill_fails_no_call() {
    for frozen in [secs(10), secs(40)] {
        let (logins, runtime) = (MockLogin::default(), current_thread());
        let login = logins.service(|n| async move {
            sleep(Duration::from_millis(100)).await;
            sleep(Duration::from_millis(100)).await;
            token(n, secs(4))
        });
        let login = ServiceBuilder::new().timeout(secs(5)).service(login);
        let refresher = AuthRefresher::builder(login).jitter(false).build().unwrap();
        runtime.block_on(async {
            refresher.ready().await.unwrap();
            sleep(Duration::from_millis(2850)).await;
            assert_eq!(logins.running(), 1);
            block_thread(frozen);
            assert!(send(&refresher).await.is_ok(), "frozen for {frozen:?}");
        });
    }
}

#[test]
fn late_retry_of_a_permanent_error_is_repeated() {
    for late in [3, 4] {
        let (logins, runtime) = (MockLogin::default(), current_thread());
        let refresher = logins.refresher(move |n| async move {
            if n == 1 || n > late {
                return token(n, HOUR);
            }
            if n < late {
                return Err(LoginError::permanent("invalid_client").into());
            }
            sleep(secs(1)).await;
            Err("connection lost".into())
        });
        runtime.block_on(async {
            refresher.ready().await.unwrap();
            // Half-way of the last 300 seconds, and after seven eighths.
            sleep(Duration::from_millis(if late == 3 { 3_450_500 } else { 3_563_000 })).await;
            assert_eq!((logins.started(), logins.running()), (late, 1));
            block_thread(secs(5));
            sleep(secs(20)).await;
            assert_eq!(logins.started(), late + 1);
            assert_eq!(send(&refresher).await.unwrap(), format!("Bearer t{}", late + 1));
        });
    }
}

#[test]
fn late_error_with_retry_after_is_not_discarded() {
    let (logins, runtime) = (MockLogin::default(), current_thread());
    let refresher = logins.refresher(|n| async move {
        if n == 1 {
            return token(n, HOUR);
        }
        sleep(secs(1)).await;
        Err(LoginError::transient("too many requests").with_retry_after(secs(120)).into())
    });
    runtime.block_on(async {
        refresher.ready().await.unwrap();
        sleep(Duration::from_millis(3_300_500)).await;
        assert_eq!(logins.running(), 1);
        block_thread(secs(3));
        sleep(secs(60)).await;
        assert_eq!(logins.started(), 2);
    });
}

#[test]
fn login_that_blocks_its_thread_is_not_late() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| async {
        block_thread(secs(3));
        Err("keychain locked".into())
    });
    current_thread().block_on(async {
        let error = refresher.token().await.unwrap_err();
        assert_eq!(chain(&error), ["login failed", "keychain locked"]);
    });
    assert_eq!(logins.started(), 1);
}

#[test]
fn timeout_after_a_late_login_names_its_error() {
    let (logins, runtime) = (MockLogin::default(), current_thread());
    let refresher = logins.refresher(|n| async move {
        sleep(Duration::from_millis(100)).await;
        if n > 1 { pending().await } else { Err("connection lost".into()) }
    });
    runtime.block_on(async {
        let mut call = Box::pin(refresher.token());
        assert!(poll_once(call.as_mut()).is_pending());
        sleep(Duration::from_millis(10)).await;
        block_thread(secs(5));
        let error = call.await.unwrap_err();
        assert_eq!(
            chain(&error),
            ["wait for a token timed out after 10s", "login failed", "connection lost"]
        );
    });
}

#[tokio::test(start_paused = true)]
async fn slow_login_on_a_driven_runtime_is_not_late() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(secs(5)).await;
        token(n, secs(4))
    });
    let error = refresher.token().await.unwrap_err();
    assert_eq!(error.to_string(), "login returned an expired token");
    assert_eq!((logins.started(), refresher.status().consecutive_failures), (1, 1));
}

#[test]
fn second_login_on_undriven_runtime_is_reported() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        match n {
            1 => {}
            2 => sleep(Duration::from_millis(100)).await,
            _ => pending().await,
        }
        token(n, HOUR)
    });
    let (first, other) = (current_thread(), current_thread());
    first.block_on(refresher.ready()).unwrap();
    for runtime in [&first, &other] {
        stand_still(runtime, HOUR - secs(300));
    }
    first.block_on(async { sleep(Duration::from_millis(20)).await });
    assert_eq!(logins.running(), 1);
    refresher.invalidate();
    let mut call = Box::pin(refresher.token());
    other.block_on(async { assert!(poll_once(call.as_mut()).is_pending()) });
    // The first login is discarded. The second starts, and then the runtime stands still.
    first.block_on(async { sleep(secs(1)).await });
    assert_eq!((logins.running(), logins.started()), (1, 3));
    let error = other.block_on(call).unwrap_err();
    assert!(error.is_undriven(), "{error}");
}

#[test]
fn waiter_replaces_a_worker_that_stands_still_after_a_discarded_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(Duration::from_millis(100)).await;
        token(n, HOUR)
    });
    let (first, other) = (current_thread(), current_thread());
    first.block_on(refresher.ready()).unwrap();
    for runtime in [&first, &other] {
        stand_still(runtime, HOUR - secs(300));
    }
    stand_still(&other, Duration::from_millis(100));
    first.block_on(async { sleep(Duration::from_millis(20)).await });
    assert_eq!(logins.running(), 1);
    refresher.invalidate();
    let mut call = Box::pin(send(&refresher));
    other.block_on(async { assert!(poll_once(call.as_mut()).is_pending()) });
    first.block_on(async { sleep(Duration::from_millis(120)).await });
    assert_eq!((logins.running(), logins.started()), (0, 2));
    assert_eq!(other.block_on(call).unwrap(), "Bearer t3");
}
