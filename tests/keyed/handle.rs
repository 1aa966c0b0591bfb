//! The handle: its factory, its capacity, and the keys it forgets.

use std::{
    hash::{Hash, Hasher},
    panic,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower_auth_refresh::{
    AccessToken, AuthRefresher, AuthRefresherBuilder, AuthRefreshers, AuthRefreshersBuilder,
    BoxError, KeyError, LoginRequest, State,
};

use crate::{
    KeyedLogins,
    support::{HOUR, alive_tasks, chain, secs},
};

fn builder(logins: &KeyedLogins<u32>) -> AuthRefreshersBuilder<u32> {
    let logins = logins.clone();
    AuthRefreshers::builder(move |key| logins.builder(key, |_| async { Ok(HOUR) }))
}

fn any_login() -> AuthRefresherBuilder {
    AuthRefresher::builder(tower::service_fn(|_: LoginRequest| async {
        AccessToken::bearer("abc")
    }))
}

async fn secret(refreshers: &AuthRefreshers<u32>, key: u32) -> String {
    refreshers.get(&key).unwrap().token().await.unwrap().secret().to_owned()
}

#[tokio::test(start_paused = true)]
async fn equal_keys_share_a_refresher_and_others_do_not() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    for _ in 0..3 {
        assert_eq!(secret(&refreshers, 1).await, "1.1");
        assert_eq!(secret(&refreshers.clone(), 2).await, "2.1");
    }
    refreshers.get(&1).unwrap().invalidate();
    assert_eq!(secret(&refreshers, 1).await, "1.2");
    assert_eq!(secret(&refreshers, 2).await, "2.1");
    assert_eq!((refreshers.len(), refreshers.is_empty()), (2, false));
}

#[tokio::test]
async fn peek_creates_no_refresher() {
    let refreshers = builder(&KeyedLogins::new()).build().unwrap();
    assert!(refreshers.peek(&1).is_none() && refreshers.is_empty());
    refreshers.get(&1).unwrap();
    assert!(refreshers.peek(&1).is_some());
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_not_in_use_never_exceed_the_capacity() {
    for capacity in [1, 2, 7, 100, 1_000, 1_001] {
        let refreshers = builder(&KeyedLogins::new()).capacity(capacity).build().unwrap();
        assert_eq!(refreshers.capacity(), capacity);
        for key in 0..3_000 {
            refreshers.get(&key).unwrap();
            assert!(refreshers.len() <= capacity);
        }
        assert!(refreshers.len() * 10 >= capacity * 9, "{} of {capacity}", refreshers.len());
    }
}

#[tokio::test(start_paused = true)]
async fn evicted_key_has_no_task_and_logs_in_again() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).capacity(1).build().unwrap();
    assert_eq!(secret(&refreshers, 1).await, "1.1");
    let weak = refreshers.get(&1).unwrap().downgrade();
    assert_eq!(secret(&refreshers, 2).await, "2.1");
    assert!(weak.upgrade().is_none() && refreshers.peek(&1).is_none());
    refreshers.forget(&2);
    assert_eq!(alive_tasks().await, 0);
    assert_eq!(secret(&refreshers, 1).await, "1.2");
}

#[tokio::test(start_paused = true)]
async fn unused_key_pauses_after_fifteen_minutes_by_default() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    secret(&refreshers, 1).await;
    sleep(24 * HOUR).await;
    assert_eq!(logins.all_started(), 1);
    assert_eq!(refreshers.get(&1).unwrap().status().state, State::Idle);
    assert_eq!(alive_tasks().await, 0);
}

#[tokio::test(start_paused = true)]
async fn pause_of_the_factory_has_priority() {
    let logins = KeyedLogins::new();
    let factory = {
        let logins = logins.clone();
        move |key: &u32| {
            let builder = logins.builder(key, |_| async { Ok(HOUR) });
            if *key == 1 { builder.pause_when_idle(48 * HOUR) } else { builder }
        }
    };
    let refreshers =
        AuthRefreshers::builder(factory).pause_when_idle(Duration::ZERO).build().unwrap();
    secret(&refreshers, 1).await;
    secret(&refreshers, 2).await;
    sleep(24 * HOUR).await;
    assert_eq!((logins.started(&1), logins.started(&2)), (1 + 26, 1));
    let refreshers = builder(&logins).pause_when_idle(Duration::MAX).build().unwrap();
    secret(&refreshers, 3).await;
    sleep(24 * HOUR).await;
    assert_eq!(logins.started(&3), 1 + 26);
}

#[tokio::test(start_paused = true)]
async fn forgotten_key_gets_a_new_refresher_and_calls_keep_the_old_one() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    let old = refreshers.get(&1).unwrap();
    assert_eq!(old.token().await.unwrap().secret(), "1.1");
    assert!(refreshers.forget(&1));
    assert!(!refreshers.forget(&1));
    assert_eq!(old.token().await.unwrap().secret(), "1.1");
    assert_eq!(secret(&refreshers, 1).await, "1.2");
    assert_eq!(old.token().await.unwrap().secret(), "1.1");
}

/// A key's credentials change while its refresher is created with the old ones.
#[test]
fn key_that_is_forgotten_while_the_factory_runs_is_created_again() {
    let (calls, handle) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::<AuthRefreshers<u32>>::new()));
    let refreshers = AuthRefreshers::builder({
        let (calls, handle) = (calls.clone(), handle.clone());
        move |key| {
            let is_first = calls.fetch_add(1, SeqCst) == 0;
            if is_first {
                handle.get().unwrap().forget(key);
            }
            any_login().name(if is_first { "old" } else { "new" })
        }
    })
    .build()
    .unwrap();
    handle.set(refreshers.clone()).unwrap();
    assert_eq!(refreshers.get(&1).unwrap().name(), Some("new"));
    assert_eq!(refreshers.peek(&1).unwrap().name(), Some("new"));
    assert_eq!(calls.load(SeqCst), 2);
}

#[test]
fn factory_can_use_the_handle_even_for_the_same_key() {
    let handle = Arc::new(OnceLock::<AuthRefreshers<u32>>::new());
    let refreshers = AuthRefreshers::builder({
        let handle = handle.clone();
        move |key: &u32| {
            // Each name shows how deep the factory was nested.
            let depth = thread_depth();
            if depth < 3 {
                let _guard = Nested::enter();
                handle.get().unwrap().get(key).unwrap();
                handle.get().unwrap().get(&(key + 1)).unwrap();
            }
            any_login().name(depth.to_string())
        }
    })
    .build()
    .unwrap();
    handle.set(refreshers.clone()).unwrap();
    // The innermost call was the first to insert its refresher.
    assert_eq!(refreshers.get(&1).unwrap().name(), Some("3"));
}

thread_local! {
    static DEPTH: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn thread_depth() -> usize {
    DEPTH.get()
}

struct Nested;

impl Nested {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

#[test]
fn factory_that_fails_or_panics_is_called_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let refreshers = AuthRefreshers::try_builder({
        let calls = calls.clone();
        move |_: &String| match calls.fetch_add(1, SeqCst) {
            0 => Err::<_, BoxError>("tenant not known".into()),
            1 => panic!("factory panics by script"),
            2 => Ok(any_login().login_timeout(Duration::ZERO)),
            _ => Ok(any_login()),
        }
    })
    .build()
    .unwrap();
    let key = "secret-tenant".to_owned();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let errors: Vec<_> = (0..3).map(|_| refreshers.get(&key).unwrap_err()).collect();
    panic::set_hook(hook);
    let messages: Vec<_> = errors.iter().flat_map(|error| chain(error)).collect();
    assert_eq!(
        messages,
        [
            "factory failed",
            "tenant not known",
            "factory panicked",
            "factory returned a builder with an invalid setting",
            "`login_timeout` must be more than zero",
        ]
    );
    for error in &errors {
        assert!(
            error.is_factory_failure()
                && !error.is_shut_down()
                && !error.is_new_key_limit_reached()
        );
        assert!(!format!("{error:?}").contains("secret-tenant"));
    }
    assert!(refreshers.is_empty());
    assert!(refreshers.get(&key).is_ok());
    assert!(!format!("{refreshers:?}").contains("secret-tenant"));
}

#[tokio::test(start_paused = true)]
async fn new_keys_beyond_the_limit_are_refused_and_known_keys_are_not() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).new_keys(3, secs(30)).build().unwrap();
    for key in 0..3 {
        refreshers.get(&key).unwrap();
    }
    let error = refreshers.get(&3).unwrap_err();
    assert!(error.is_new_key_limit_reached());
    assert_eq!(error.to_string(), "limit of new keys reached");
    assert_eq!(secret(&refreshers, 0).await, "0.1");
    sleep(secs(10)).await;
    assert_eq!(secret(&refreshers, 3).await, "3.1");
    assert!(refreshers.get(&4).is_err());
}

#[tokio::test(start_paused = true)]
async fn limit_on_new_keys_counts_keys_that_were_removed_and_not_those_the_factory_refuses() {
    let calls = Arc::new(AtomicUsize::new(0));
    let refreshers = AuthRefreshers::try_builder({
        let calls = calls.clone();
        move |key: &u32| {
            calls.fetch_add(1, SeqCst);
            if (10..100).contains(key) { Err("tenant not known") } else { Ok(any_login()) }
        }
    })
    .capacity(1)
    .new_keys(5, secs(50))
    .build()
    .unwrap();
    refreshers.get(&1).unwrap();
    refreshers.forget(&1);
    refreshers.get(&1).unwrap();
    refreshers.get(&2).unwrap(); // evicts 1
    refreshers.get(&1).unwrap();
    for key in 10..20 {
        assert!(refreshers.get(&key).unwrap_err().is_factory_failure());
    }
    refreshers.get(&3).unwrap(); // evicts 1
    assert_eq!(calls.swap(0, SeqCst), 15);
    for key in [1, 2, 10] {
        assert!(refreshers.peek(&key).is_none());
        assert!(refreshers.get(&key).unwrap_err().is_new_key_limit_reached());
    }
    refreshers.get(&3).unwrap();
    assert_eq!(calls.load(SeqCst), 0, "the factory is not called beyond the limit");
    // One more for each tenth of the period, and never more than five.
    sleep(secs(10)).await;
    assert!(refreshers.get(&2).is_ok() && refreshers.get(&3).is_err());
    sleep(secs(3600)).await;
    assert_eq!((100..200).filter(|key| refreshers.get(key).is_ok()).count(), 5);
}

#[test]
fn limit_of_zero_new_keys_accepts_none() {
    let refreshers = builder(&KeyedLogins::new()).new_keys(0, secs(1)).build().unwrap();
    assert!(refreshers.get(&1).unwrap_err().is_new_key_limit_reached());
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_all_keys_and_refuses_new_ones() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    let used = refreshers.get(&1).unwrap();
    used.token().await.unwrap();
    secret(&refreshers, 2).await;
    refreshers.clone().shutdown();
    assert!(refreshers.is_empty());
    assert!(used.token().await.unwrap_err().is_shut_down());
    for key in 0..3 {
        assert!(refreshers.get(&key).unwrap_err().is_shut_down());
    }
    assert_eq!(alive_tasks().await, 0);
}

#[test]
fn settings_are_checked() {
    let message = |builder: AuthRefreshersBuilder<u32>| builder.build().unwrap_err().to_string();
    let builder = || builder(&KeyedLogins::new());
    assert_eq!(message(builder().capacity(0)), "`capacity` must be more than zero");
    assert_eq!(message(builder().logins_at_once(0)), "`logins_at_once` must be more than zero");
    assert_eq!(message(builder().capacity(usize::MAX)), "`capacity` must be less than 2^30");
    let new_keys = "`new_keys` must have a period above zero and at most 24 hours";
    assert_eq!(message(builder().new_keys(1, Duration::ZERO)), new_keys);
    assert_eq!(message(builder().new_keys(1, Duration::MAX)), new_keys);
}

#[derive(Clone)]
struct PanickingEq;

impl Hash for PanickingEq {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialEq for PanickingEq {
    fn eq(&self, _: &Self) -> bool {
        panic!("comparison panics by script")
    }
}

impl Eq for PanickingEq {}

#[test]
fn key_whose_comparison_panics_does_not_break_the_handle() {
    let refreshers =
        AuthRefreshers::builder(|_: &PanickingEq| any_login()).capacity(10).build().unwrap();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let get =
        || panic::catch_unwind(panic::AssertUnwindSafe(|| refreshers.get(&PanickingEq).is_ok()));
    let results: Vec<_> = (0..30).map(|_| get()).collect();
    // Under a lock that is written, it counts as a difference.
    assert!(!refreshers.forget(&PanickingEq));
    panic::set_hook(hook);
    assert!(matches!(results[0], Ok(true)) && results[1..].iter().all(Result::is_err));
    refreshers.shutdown();
    assert!(refreshers.len() <= 10);
}

#[test]
fn calls_on_many_threads_share_one_refresher_for_a_new_key() {
    for _ in 0..200 {
        let refreshers = builder(&KeyedLogins::new()).build().unwrap();
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| refreshers.get(&1).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        refreshers.shutdown();
        assert!(all.iter().all(|refresher| refresher.status().state == State::ShutDown));
    }
}

#[test]
fn each_key_error_states_one_cause() {
    let states = |error: KeyError| {
        [
            error.is_missing_key(),
            error.is_new_key_limit_reached(),
            error.is_shut_down(),
            error.is_factory_failure(),
        ]
    };
    let refreshers = AuthRefreshers::try_builder(|key: &u32| match key {
        1 => Err("tenant not known"),
        _ => Ok(any_login()),
    });
    let refreshers = refreshers.new_keys(1, secs(60)).name("orders").build().unwrap();
    assert_eq!(refreshers.name(), Some("orders"));
    assert_eq!(states(refreshers.get(&1).unwrap_err()), [false, false, false, true]);
    refreshers.get(&2).unwrap();
    assert_eq!(states(refreshers.get(&3).unwrap_err()), [false, true, false, false]);
    refreshers.shutdown();
    assert_eq!(states(refreshers.get(&2).unwrap_err()), [false, false, true, false]);
    let unnamed = builder(&KeyedLogins::new()).build().unwrap();
    assert_eq!(unnamed.name(), None);
}
