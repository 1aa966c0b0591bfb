//! How a key gets its refresher: the factory, the limit on new keys, and calls on several threads.

use std::{
    panic,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;
use tower::service_fn;
use tower_auth_refresh::{
    AccessToken, AuthRefresher, AuthRefresherBuilder, AuthRefreshers, BoxError, LoginRequest,
};

use crate::{
    KeyedLogins,
    support::{HOUR, alive_tasks, secs},
};

/// Waits until this many threads have called it. The time limit prevents a test that fails from hanging.
fn wait_for_threads(called: &AtomicUsize, threads: usize) {
    called.fetch_add(1, SeqCst);
    let start = Instant::now();
    while called.load(SeqCst) < threads && start.elapsed() < secs(10) {
        thread::yield_now();
    }
}

fn any_login() -> AuthRefresherBuilder {
    AuthRefresher::builder(service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") }))
}

/// Returns a handle whose factory counts its calls, and uses the handle before it returns.
fn with_factory(
    use_handle: impl Fn(&AuthRefreshers<u32>, &u32) + Send + Sync + 'static,
) -> (AuthRefreshers<u32>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let handle = Arc::new(OnceLock::<AuthRefreshers<u32>>::new());
    let refreshers = AuthRefreshers::builder({
        let (calls, handle) = (calls.clone(), handle.clone());
        move |key: &u32| {
            assert!(calls.fetch_add(1, SeqCst) < 200, "the factory is called again and again");
            use_handle(handle.get().unwrap(), key);
            any_login()
        }
    })
    .build()
    .unwrap();
    handle.set(refreshers.clone()).unwrap();
    (refreshers, calls)
}

#[test]
fn factory_that_forgets_another_key_is_called_once() {
    let (refreshers, calls) = with_factory(|handle, key| {
        handle.forget(&(key + 1));
    });
    refreshers.get(&1).unwrap();
    assert_eq!(calls.load(SeqCst), 1);
}

#[test]
fn factory_that_forgets_its_own_key_is_called_four_times() {
    let (refreshers, calls) = with_factory(|handle, key| {
        handle.forget(key);
    });
    refreshers.get(&1).unwrap();
    assert_eq!(calls.load(SeqCst), 4);
    assert!(refreshers.is_empty());
}

#[test]
fn factory_that_shuts_the_handle_down_is_called_once() {
    let (refreshers, calls) = with_factory(|handle, _| handle.shutdown());
    assert!(refreshers.get(&1).unwrap_err().is_shut_down());
    assert_eq!(calls.load(SeqCst), 1);
}

#[test]
fn keys_that_are_forgotten_do_not_delay_a_new_key() {
    let (refreshers, calls) = with_factory(|_, _| thread::sleep(Duration::from_millis(5)));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for other in 1_000.. {
                if done.load(SeqCst) {
                    break;
                }
                refreshers.forget(&other);
            }
        });
        let got = refreshers.get(&1).map(drop);
        done.store(true, SeqCst);
        got.unwrap();
    });
    assert_eq!(calls.load(SeqCst), 1);
}

#[test]
fn factory_that_stores_the_handle_is_dropped_at_the_shutdown() {
    let marker = Arc::new(());
    let (refreshers, _) = with_factory({
        let marker = marker.clone();
        move |_, _| drop(marker.clone())
    });
    refreshers.get(&1).unwrap();
    refreshers.shutdown();
    assert_eq!(Arc::strong_count(&marker), 1);
}

#[test]
fn keys_that_the_factory_refuses_do_not_count_against_the_limit() {
    let refreshers = AuthRefreshers::try_builder(|key: &u32| {
        if *key >= 100 { Err("tenant not known") } else { Ok(any_login()) }
    })
    .new_keys(3, secs(60))
    .build()
    .unwrap();
    for unknown in 100..110 {
        assert!(refreshers.get(&unknown).unwrap_err().is_factory_failure());
    }
    for known in 0..3 {
        refreshers.get(&known).unwrap();
    }
    // Beyond the limit, the factory is not called.
    for key in [3, 100] {
        assert!(refreshers.get(&key).unwrap_err().is_new_key_limit_reached());
    }
}

#[test]
fn key_that_several_calls_create_counts_once() {
    let called = AtomicUsize::new(0);
    let refreshers = AuthRefreshers::builder(move |_: &u32| {
        wait_for_threads(&called, 3);
        any_login()
    })
    .new_keys(2, secs(60))
    .build()
    .unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| refreshers.get(&1).unwrap());
        }
    });
    assert_eq!(refreshers.len(), 1);
    refreshers.get(&2).unwrap();
    assert!(refreshers.get(&3).unwrap_err().is_new_key_limit_reached());
}

/// The first call has used up the limit by the time that the factory of the second one returns.
#[test]
fn second_call_for_a_new_key_is_not_refused() {
    let called = AtomicUsize::new(0);
    let refreshers = AuthRefreshers::builder(move |_: &u32| {
        wait_for_threads(&called, 2);
        any_login()
    })
    .new_keys(1, secs(60))
    .build()
    .unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| refreshers.get(&1).unwrap());
        }
    });
    refreshers.get(&1).unwrap();
    assert!(refreshers.get(&2).unwrap_err().is_new_key_limit_reached());
}

#[derive(PartialEq, Eq, Hash)]
struct PanickingClone;

impl Clone for PanickingClone {
    fn clone(&self) -> Self {
        panic!("clone panics by script")
    }
}

#[test]
fn key_whose_clone_panics_is_an_error() {
    let refreshers = AuthRefreshers::builder(|_: &PanickingClone| any_login()).build().unwrap();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = refreshers.get(&PanickingClone);
    panic::set_hook(hook);
    assert!(result.unwrap_err().is_factory_failure());
}

#[tokio::test(start_paused = true)]
async fn clock_of_the_handle_costs_one_task() {
    #[derive(Debug)]
    struct Wall;

    impl tower_auth_refresh::Clock for Wall {
        fn now(&self) -> std::time::SystemTime {
            std::time::SystemTime::now()
        }
    }

    let logins = KeyedLogins::<u32>::new();
    let refreshers =
        AuthRefreshers::builder(move |key| logins.builder(key, |_| async { Ok(HOUR) }))
            .clock(Wall)
            .build()
            .unwrap();
    for key in 0..100 {
        refreshers.get(&key).unwrap().token().await.unwrap();
    }
    assert_eq!(alive_tasks().await, 101);
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Live;

impl Live {
    fn new() -> Self {
        LIVE.fetch_add(1, SeqCst);
        Self
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, SeqCst);
    }
}

/// While threads create one key, others forget it and others still.
#[test]
fn login_service_of_a_discarded_refresher_is_dropped() {
    let refreshers = AuthRefreshers::builder(|_: &u32| {
        for _ in 0..fastrand::u32(..60) {
            std::hint::spin_loop();
        }
        let live = Live::new();
        AuthRefresher::builder(service_fn(move |_: LoginRequest| {
            let _ = &live;
            async { Ok::<_, BoxError>(AccessToken::bearer("abc")?.with_expires_in(HOUR)) }
        }))
    })
    .capacity(1)
    .build()
    .unwrap();
    let (start, round) = (Instant::now(), AtomicUsize::new(0));
    for _ in 0..300 {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let key = round.fetch_add(1, SeqCst) as u32 / 12;
                        match fastrand::u8(..8) {
                            0 => refreshers.forget(&key),
                            1..4 => refreshers.forget(&u32::MAX),
                            _ => false,
                        };
                        drop(refreshers.get(&key).unwrap());
                    }
                });
            }
        });
        assert_eq!(LIVE.load(SeqCst), refreshers.len(), "each key has one login service");
        if start.elapsed() > secs(1) {
            break;
        }
    }
}
