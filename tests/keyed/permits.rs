//! How many logins run at the same time, and in which order.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    runtime::Builder,
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_auth_refresh::AuthRefreshers;

use crate::{
    KeyedLogins,
    support::{HOUR, secs},
};

const LOGIN: Duration = Duration::from_millis(20);

fn refreshers(
    logins: &KeyedLogins<usize>,
    at_once: usize,
    capacity: usize,
) -> AuthRefreshers<usize> {
    let logins = logins.clone();
    AuthRefreshers::builder(move |key| {
        let login = |_: &usize| async {
            sleep(LOGIN).await;
            Ok(HOUR)
        };
        logins.builder(key, login).wait_timeout(HOUR)
    })
    .logins_at_once(at_once)
    .capacity(capacity)
    .build()
    .unwrap()
}

/// Each key waits for the logins before it in line, and for no others.
///
/// `KEYED_KEYS=10000 KEYED_CALLERS=100 cargo test --release --all-features --test keyed cold_keys` runs a million calls.
#[tokio::test(start_paused = true)]
async fn cold_keys_log_in_once_each_in_order_of_arrival() {
    const AT_ONCE: usize = 16;
    let number =
        |name, default| std::env::var(name).map_or(default, |number| number.parse().unwrap());
    let (keys, callers) = (number("KEYED_KEYS", 1_600), number("KEYED_CALLERS", 10));
    let logins = KeyedLogins::new();
    let refreshers = refreshers(&logins, AT_ONCE, 2 * keys);
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for key in 0..keys {
        let refreshers = refreshers.clone();
        calls.spawn(async move {
            let token = || async { refreshers.get(&key).unwrap().token().await.unwrap() };
            for token in join_all((0..callers).map(|_| token())).await {
                assert_eq!(token.secret(), format!("{key}.1"));
            }
        });
    }
    calls.join_all().await;
    assert_eq!(logins.all_started(), keys);
    assert_eq!(logins.most_running(), AT_ONCE);
    assert_eq!(refreshers.len(), keys);
    for key in 0..keys {
        let started = logins.lock().started[&key][0].at - start;
        // A timer is up to a millisecond late.
        let share = (LOGIN + Duration::from_millis(2)) * (key / AT_ONCE) as u32;
        assert!(started <= share, "key {key} started after {started:?}, not within {share:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn login_that_is_dropped_frees_its_permit() {
    let logins = KeyedLogins::new();
    let refreshers = refreshers(&logins, 1, 100);
    let first = refreshers.get(&1).unwrap();
    let waiting = tokio::spawn({
        let first = first.clone();
        async move { first.token().await }
    });
    tokio::task::yield_now().await;
    sleep(LOGIN / 2).await;
    first.shutdown();
    refreshers.get(&2).unwrap().token().await.unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(logins.most_running(), 1);
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_permit_does_not_count_as_login_time() {
    let logins = KeyedLogins::new();
    let refreshers = {
        let logins = logins.clone();
        AuthRefreshers::builder(move |key: &usize| {
            let login = |_: &usize| async {
                sleep(secs(9)).await;
                Ok(HOUR)
            };
            logins.builder(key, login).wait_timeout(HOUR).login_timeout(secs(10))
        })
        .logins_at_once(1)
        .build()
        .unwrap()
    };
    let calls = (0..10).map(|key| refreshers.get(&key).unwrap());
    for token in join_all(calls.map(|refresher| async move { refresher.token().await })).await {
        token.unwrap();
    }
    assert_eq!(logins.all_started(), 10);
}

/// Thousands of new keys of an issuer that does not respond, and keys of one that does.
#[tokio::test(start_paused = true)]
async fn slow_issuer_does_not_delay_keys_of_a_quick_one() {
    const SLOW: usize = 400;
    let logins = KeyedLogins::new();
    let refreshers = {
        let logins = logins.clone();
        AuthRefreshers::builder(move |key: &usize| {
            let is_slow = *key >= SLOW;
            let login = move |_: &usize| async move {
                if is_slow {
                    std::future::pending::<()>().await;
                }
                sleep(LOGIN).await;
                Ok(secs(600))
            };
            logins.builder(key, login).wait_timeout(secs(60))
        })
        .capacity(10_000)
        .build()
        .unwrap()
    };
    let quick: Vec<_> = (0..100).map(|key| refreshers.get(&key).unwrap()).collect();
    join_all(quick.iter().map(|refresher| async { refresher.token().await.unwrap() })).await;
    let mut slow = JoinSet::new();
    for key in SLOW..2 * SLOW {
        let refresher = refreshers.get(&key).unwrap();
        slow.spawn(async move {
            while refresher.token().await.is_err() {
                sleep(secs(1)).await;
            }
        });
    }
    // The logins that hang have all permits at first.
    sleep(secs(40)).await;
    for round in 0..10 {
        quick.iter().for_each(tower_auth_refresh::AuthRefresher::invalidate);
        let start = Instant::now();
        join_all(quick.iter().map(|refresher| async { refresher.token().await.unwrap() })).await;
        // At least four at a time.
        let limit = LOGIN * 100 / 4 + secs(1);
        assert!(start.elapsed() <= limit, "round {round} took {:?}", start.elapsed());
        sleep(secs(7)).await;
    }
    assert_eq!(logins.most_running(), 16);
    slow.shutdown().await;
}

#[test]
fn runtime_that_is_not_driven_keeps_no_permit() {
    let paused = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let logins = KeyedLogins::new();
    let refreshers = refreshers(&logins, 4, 1_000);
    // Four logins under way and many places in line, on a runtime that stands still from now on.
    let undriven = paused();
    undriven.block_on(async {
        for key in 0..100 {
            let refresher = refreshers.get(&key).unwrap();
            tokio::spawn(async move { refresher.token().await });
        }
        sleep(LOGIN / 2).await;
    });
    assert_eq!(logins.all_started(), 4);
    let driven = paused();
    driven.block_on(async {
        sleep(LOGIN / 2).await;
        let start = Instant::now();
        let others = (200..300).map(|key| refreshers.get(&key).unwrap());
        join_all(others.map(|refresher| async move { refresher.token().await.unwrap() })).await;
        // The permits of the logins count for their time limit of 30 seconds and one more.
        let limit = secs(31) + LOGIN * 100 / 4 + secs(1);
        assert!(start.elapsed() <= limit, "{:?}", start.elapsed());
        // A key in line on the other runtime gets a worker on this one.
        refreshers.get(&50).unwrap().token().await.unwrap();
    });
    assert_eq!(logins.started(&50), 1);
    undriven.block_on(async {
        sleep(secs(1)).await;
        refreshers.get(&99).unwrap().token().await.unwrap();
    });
}

/// One key hangs, and a permit is free.
#[tokio::test(start_paused = true)]
async fn free_permit_serves_a_new_key_while_one_login_hangs() {
    let logins = KeyedLogins::new();
    let refreshers = AuthRefreshers::builder(move |key: &usize| {
        let hangs = *key == 0;
        logins.builder(key, move |_| async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(HOUR)
        })
    })
    .logins_at_once(2)
    .build()
    .unwrap();
    let slow = refreshers.get(&0).unwrap();
    tokio::spawn(async move { slow.token().await });
    sleep(secs(11)).await;
    refreshers.get(&1).unwrap().token().await.unwrap();
}

#[test]
fn key_keeps_its_place_in_line_on_another_runtime() {
    let paused = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let logins = KeyedLogins::<usize>::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let refreshers = {
        let order = order.clone();
        AuthRefreshers::builder(move |key: &usize| {
            let order = order.clone();
            let login = move |key: &usize| {
                order.lock().unwrap().push(*key);
                async {
                    sleep(secs(5)).await;
                    Ok(HOUR)
                }
            };
            logins.builder(key, login).wait_timeout(HOUR)
        })
        .logins_at_once(1)
        .build()
        .unwrap()
    };
    let spawn = |key: usize| {
        let refresher = refreshers.get(&key).unwrap();
        tokio::spawn(async move { refresher.token().await.map(drop) })
    };
    let (driven, undriven) = (paused(), paused());
    driven.block_on(async {
        spawn(0);
        sleep(Duration::from_millis(1)).await;
    });
    // Key 1 is the first in line.
    undriven.block_on(async {
        spawn(1);
        sleep(Duration::from_millis(1)).await;
    });
    driven.block_on(async {
        let others: Vec<_> = (2..6).map(spawn).collect();
        sleep(Duration::from_millis(1)).await;
        // A call on this runtime waits for key 1 too.
        spawn(1).await.unwrap().unwrap();
        for other in others {
            other.await.unwrap().unwrap();
        }
    });
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn quick_key_whose_runtime_stood_still_is_not_slow() {
    let logins = KeyedLogins::<usize>::new();
    let gate = Arc::new(Notify::new());
    let refreshers = AuthRefreshers::builder({
        let gate = gate.clone();
        move |key: &usize| {
            let (hangs, gate, first) = (*key == 0, gate.clone(), AtomicBool::new(true));
            let login = move |_: &usize| {
                let (gate, first) = (gate.clone(), first.swap(false, SeqCst));
                async move {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    if first {
                        gate.notified().await;
                    }
                    Ok(HOUR)
                }
            };
            logins.builder(key, login).backoff(secs(1), secs(1))
        }
    })
    .logins_at_once(4)
    .build()
    .unwrap();
    let (slow, quick) = (refreshers.get(&0).unwrap(), refreshers.get(&1).unwrap());
    // The first login of key 0 ends at 30 s. From 31 s on, it has the one permit for slow keys.
    tokio::spawn(async move {
        while slow.token().await.is_err() {
            sleep(secs(1)).await;
        }
    });
    sleep(secs(40)).await;
    let waiting = tokio::spawn({
        let quick = quick.clone();
        async move { quick.token().await.map(drop) }
    });
    sleep(Duration::from_millis(10)).await;
    // Nothing drives the runtime for 12 s. Then the login is ready.
    gate.notify_one();
    tokio::time::advance(secs(12)).await;
    let _ = waiting.await.unwrap();
    sleep(secs(2)).await;
    quick.token().await.unwrap();
    sleep(secs(14)).await;
    quick.invalidate();
    quick.token().await.unwrap();
}
