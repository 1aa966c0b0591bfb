//! How a key loses its refresher: eviction, `forget` and shutdown.

use std::{
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use http::{Request, Response};
use tokio::{runtime::Builder, time::sleep};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefreshers, AuthRefreshersBuilder,
    LoginRequest, TokenValidFor,
};

use crate::{
    KeyedLogins,
    support::{HOUR, alive_tasks, secs},
};

fn builder(logins: &KeyedLogins<u32>) -> AuthRefreshersBuilder<u32> {
    let logins = logins.clone();
    AuthRefreshers::builder(move |key| logins.builder(key, |_| async { Ok(HOUR) }))
}

fn request(key: u32) -> Request<()> {
    Request::get("https://api.example.com/").extension(key).body(()).unwrap()
}

async fn ok(_: Request<()>) -> Result<Response<()>, BoxError> {
    Ok(Response::new(()))
}

/// A user logs out. The service of its connection stays, and sends nothing.
#[tokio::test(start_paused = true)]
async fn forgotten_key_does_not_log_in_by_itself() {
    for pause in [secs(900), Duration::MAX] {
        let logins = KeyedLogins::new();
        let refreshers = builder(&logins).pause_when_idle(pause).build().unwrap();
        let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(ok));
        service.ready().await.unwrap().call(request(1)).await.unwrap();
        // This call shows that the token is used, so a refresh is due.
        sleep(secs(45 * 60)).await;
        service.ready().await.unwrap().call(request(1)).await.unwrap();
        assert_eq!(logins.started(&1), 1);
        refreshers.forget(&1);
        sleep(24 * HOUR).await;
        assert_eq!(logins.started(&1), 1);
        assert_eq!(alive_tasks().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn caller_with_a_forgotten_refresher_can_log_in() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    let held = refreshers.get(&1).unwrap();
    held.token().await.unwrap();
    refreshers.forget(&1);
    assert_eq!(held.token().await.unwrap().secret(), "1.1");
    assert_eq!(held.refresh().await.unwrap().token.secret(), "1.2");
    sleep(2 * HOUR).await;
    assert_eq!(logins.started(&1), 2);
    assert_eq!(held.token().await.unwrap().secret(), "1.3");
    // A shutdown does not end it.
    refreshers.shutdown();
    sleep(2 * HOUR).await;
    assert_eq!(held.token().await.unwrap().secret(), "1.4");
    assert_eq!(logins.started(&1), 4);
}

#[tokio::test(start_paused = true)]
async fn call_on_the_slow_path_releases_a_forgotten_key() {
    let marker = Arc::new(());
    let refreshers = AuthRefreshers::builder({
        let marker = marker.clone();
        move |_: &u32| {
            let marker = marker.clone();
            AuthRefresher::builder(service_fn(move |_: LoginRequest| {
                let _ = &marker;
                async { AccessToken::bearer("abc") }
            }))
        }
    })
    .build()
    .unwrap();
    let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(ok));
    for _ in 0..3 {
        service.ready().await.unwrap().call(request(1)).await.unwrap();
    }
    refreshers.forget(&1);
    for key in [2, 3] {
        let mut request = request(key);
        request.extensions_mut().insert(TokenValidFor(secs(1)));
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    assert!(refreshers.forget(&2) && refreshers.forget(&3));
    // The marker is here and in the factory.
    assert_eq!(Arc::strong_count(&marker), 2);
}

struct PanicsOnDrop(bool);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if self.0 && !thread::panicking() {
            panic!("login service panics on drop by script");
        }
    }
}

#[test]
fn forget_does_not_panic_if_the_login_service_panics_on_drop() {
    let refreshers = AuthRefreshers::builder(|_: &u32| {
        let panics = PanicsOnDrop(true);
        AuthRefresher::builder(service_fn(move |_: LoginRequest| {
            let _ = &panics;
            async { AccessToken::bearer("abc") }
        }))
    });
    let refreshers = refreshers.build().unwrap();
    refreshers.get(&1).unwrap();
    assert!(refreshers.forget(&1));
    assert!(refreshers.peek(&1).is_none());
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_every_key_although_a_login_service_panics_on_drop() {
    let refreshers = AuthRefreshers::builder(|key: &u32| {
        let panics = PanicsOnDrop(key % 3 == 1);
        AuthRefresher::builder(service_fn(move |_: LoginRequest| {
            let _ = &panics;
            async { AccessToken::bearer("abc") }
        }))
    })
    .build()
    .unwrap();
    let mut services = Vec::new();
    for key in 0..8_u32 {
        let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(ok));
        for _ in 0..2 {
            service.ready().await.unwrap().call(request(key)).await.unwrap();
        }
        services.push(service);
    }
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let shutdown = catch_unwind(AssertUnwindSafe(|| refreshers.shutdown()));
    panic::set_hook(hook);
    shutdown.unwrap();
    for (key, service) in (0..).zip(&mut services) {
        service.ready().await.unwrap().call(request(key)).await.unwrap_err();
    }
}

struct SlowDrop(bool);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        if self.0 {
            thread::sleep(Duration::from_millis(400));
        }
    }
}

struct Unfinished(Arc<AtomicUsize>, bool);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.1 {
            self.0.fetch_add(1, SeqCst);
        }
    }
}

/// Two keys are evicted at once. While the login service of the second one is dropped, the refresh of the first is due.
#[test]
fn eviction_does_not_abort_a_login() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let aborted = Arc::new(AtomicUsize::new(0));
    let counter = aborted.clone();
    let refreshers = AuthRefreshers::builder(move |key: &u32| {
        let (key, counter, slow_drop) = (*key, counter.clone(), SlowDrop(*key == 2));
        let mut number = 0;
        AuthRefresher::builder(service_fn(move |_: LoginRequest| {
            let _ = &slow_drop;
            number += 1;
            let (number, counter) = (number, counter.clone());
            async move {
                let mut unfinished = Unfinished(counter, false);
                if number > 1 {
                    sleep(secs(1)).await;
                }
                unfinished.1 = true;
                let lifetime = if key == 1 { Duration::from_millis(800) } else { HOUR };
                Ok::<_, BoxError>(AccessToken::bearer("abc")?.with_expires_in(lifetime))
            }
        }))
        .jitter(false)
        .pause_when_idle(HOUR)
    })
    .capacity(1)
    .build()
    .unwrap();
    runtime.block_on(async {
        // Both are in use, so both are in the cache.
        let held = [1, 2].map(|key| refreshers.get(&key).unwrap());
        for refresher in &held {
            refresher.token().await.unwrap();
        }
        // The refresh of key 1 is due at 600 ms.
        sleep(Duration::from_millis(400)).await;
        drop(held);
        let refreshers = refreshers.clone();
        tokio::task::spawn_blocking(move || drop(refreshers.get(&3).unwrap())).await.unwrap();
        sleep(secs(1)).await;
    });
    assert_eq!(aborted.load(SeqCst), 0);
}

#[cfg(feature = "metrics")]
#[test]
fn events_add_up_to_the_number_of_keys() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let refreshers = builder(&KeyedLogins::new()).capacity(4).build().unwrap();
        for key in 0..10 {
            refreshers.get(&key).unwrap();
        }
        refreshers.get(&1).unwrap();
        refreshers.forget(&1);
        refreshers.shutdown();
        assert!(refreshers.is_empty());
    });
    let counters = recorder.snapshotter().snapshot().into_vec();
    let [created, evicted, forgotten] = ["created", "evicted", "forgotten"].map(|event| {
        let of_event = counters
            .iter()
            .filter(|(key, ..)| key.key().labels().any(|label| label.value() == event));
        let counts = of_event.map(|(.., value)| match value {
            DebugValue::Counter(count) => *count,
            _ => 0,
        });
        counts.sum::<u64>()
    });
    assert!(created >= 10 && evicted > 0 && forgotten > 0);
    assert_eq!(created, evicted + forgotten);
}
