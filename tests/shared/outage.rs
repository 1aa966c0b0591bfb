//! A store that is unavailable, slow, or loses what it contains.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_auth_refresh::{
    AuthRefresher, BoxError, LoginReason,
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
    },
    test_util::InMemoryTokenStore,
};

use crate::{
    Fleet, at_once, expires, layer, log_in, millis, secrets,
    support::{HOUR, secs, token},
};

/// Passes time, with a request of each process every 10 seconds, none of which waits.
async fn pass(processes: &[AuthRefresher], seconds: u64) {
    for _ in 0..seconds / 10 {
        sleep(secs(10)).await;
        processes.iter().for_each(|process| drop(at_once(process)));
    }
}

/// Fewer processes would exceed 3 per cent in some second by chance.
#[tokio::test(start_paused = true)]
async fn without_the_store_processes_log_in_spread_over_the_lead() {
    const PROCESSES: usize = 300;
    // A store that fails at once, and one that does not respond.
    for is_down in [true, false] {
        let fleet = Fleet::default();
        let starts = Arc::new(Mutex::new(BTreeMap::<u64, usize>::new()));
        let start = Instant::now();
        let processes: Vec<_> = (0..PROCESSES as u64)
            .map(|seed| {
                let starts = starts.clone();
                let login = move |nth| {
                    let second = start.elapsed().as_secs();
                    *starts.lock().unwrap().entry(second).or_default() += 1;
                    async move {
                        sleep(millis(200)).await;
                        token(nth, HOUR)
                    }
                };
                fleet.builder(seed, login).build().unwrap()
            })
            .collect();
        secrets(&processes).await;
        pass(&processes, 3000).await;
        match is_down {
            true => fleet.store.set_available(false),
            false => fleet.store.set_delay(HOUR),
        }
        pass(&processes, 590).await;
        let in_outage = starts.lock().unwrap().split_off(&1);
        assert_eq!(in_outage.values().sum::<usize>(), PROCESSES);
        let most = *in_outage.values().max().unwrap();
        assert!(most * 100 <= 3 * PROCESSES, "{most} processes in one second: {in_outage:?}");
        let (first, last) = (in_outage.keys().next().unwrap(), in_outage.keys().last().unwrap());
        assert!(last - first > 200, "{first} to {last}");

        // One login in each lifetime, as soon as the store is available.
        fleet.store.set_available(true);
        fleet.store.set_delay(millis(1));
        starts.lock().unwrap().clear();
        pass(&processes, 2 * 3500).await;
        let logins = starts.lock().unwrap().values().sum::<usize>();
        assert!(logins <= 3, "{logins}");
    }
}

#[tokio::test(start_paused = true)]
async fn short_outage_causes_no_login() {
    let fleet = Fleet::default();
    let layer = layer(fleet.store.clone()).rng(|| u64::MAX / 2);
    let processes: Vec<_> = (0..10)
        .map(|_| {
            let login = fleet.logins.service(|nth| async move { token(nth, HOUR) });
            AuthRefresher::builder(layer.layer(login))
                .jitter(false)
                .clock(fleet.clock.clone())
                .build()
                .unwrap()
        })
        .collect();
    secrets(&processes).await;
    pass(&processes, 3250).await;
    fleet.store.set_available(false);
    pass(&processes, 100).await;
    assert_eq!(fleet.logins.started(), 1);
    fleet.store.set_available(true);
    pass(&processes, 200).await;
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn store_that_is_back_after_the_wait_is_used() {
    let fleet = Fleet::default();
    // The random time is 11 seconds after the refresh.
    let layer = layer(fleet.store.clone()).rng(|| u64::MAX / 20);
    let processes: Vec<_> = (0..10)
        .map(|_| {
            let login = fleet.logins.service(|nth| async move { token(nth, HOUR) });
            AuthRefresher::builder(layer.layer(login))
                .jitter(false)
                .clock(fleet.clock.clone())
                .build()
                .unwrap()
        })
        .collect();
    secrets(&processes).await;
    pass(&processes, 3290).await;
    fleet.store.set_available(false);
    pass(&processes, 20).await;
    fleet.store.set_available(true);
    pass(&processes, 20).await;
    assert_eq!(processes.iter().map(at_once).collect::<Vec<_>>(), vec!["t2"; 10]);
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn rejection_ends_the_wait_for_the_random_time() {
    let fleet = Fleet::default();
    // The random time is 11 seconds after the refresh.
    let layer = layer(fleet.store.clone()).rng(|| u64::MAX / 20);
    let login = fleet.logins.service(|nth| async move { token(nth, HOUR) });
    let process = AuthRefresher::builder(layer.layer(login))
        .jitter(false)
        .clock(fleet.clock.clone())
        .build()
        .unwrap();
    process.token().await.unwrap();
    pass(std::slice::from_ref(&process), 3290).await;
    fleet.store.set_available(false);
    sleep(secs(12)).await;
    assert_eq!(at_once(&process), "t1");
    assert!(process.reject(&process.token().await.unwrap(), None));
    let start = Instant::now();
    assert_eq!(process.token().await.unwrap().secret(), "t2");
    assert!(start.elapsed() <= millis(200), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn short_lived_tokens_survive_an_outage_without_a_wait() {
    for is_down in [true, false] {
        let fleet = Fleet::default();
        let processes: Vec<_> = (0..20)
            .map(|seed| {
                let login = |nth| async move {
                    sleep(millis(20)).await;
                    token(nth, secs(3))
                };
                fleet.builder(seed, login).build().unwrap()
            })
            .collect();
        secrets(&processes).await;
        for (available, delay) in [(true, millis(1)), (!is_down, secs(60)), (true, millis(1))] {
            fleet.store.set_available(available);
            fleet.store.set_delay(if available && is_down { millis(1) } else { delay });
            for _ in 0..600 {
                sleep(millis(50)).await;
                processes.iter().for_each(|process| drop(at_once(process)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn first_login_waits_for_a_slow_store_up_to_its_timeout() {
    for (delay, waited) in [(millis(400), millis(800)), (millis(600), millis(500))] {
        let fleet = Fleet::default();
        fleet.store.set_delay(delay);
        let login = fleet.logins.service(|nth| async move { token(nth, HOUR) });
        let mut service = layer(fleet.store.clone()).layer(login);
        let start = Instant::now();
        assert_eq!(log_in(&mut service, LoginReason::First).await.unwrap().secret(), "t1");
        assert_eq!(start.elapsed(), waited, "{delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_during_the_wait_of_a_retry_is_not_spread_out() {
    let fleet = Fleet::default();
    // The random time is long after the retry.
    let layer = layer(fleet.store.clone()).rng(|| u64::MAX / 2);
    let login = fleet.logins.service(|nth| async move { token(nth, HOUR) });
    let process = AuthRefresher::builder(layer.layer(login))
        .jitter(false)
        .clock(fleet.clock.clone())
        .build()
        .unwrap();
    process.token().await.unwrap();
    pass(std::slice::from_ref(&process), 3290).await;
    // The refresh waits for the store when the token is rejected.
    fleet.store.set_delay(HOUR);
    while fleet.store.calls() == 2 {
        drop(at_once(&process));
        sleep(millis(100)).await;
    }
    assert!(process.reject(&process.token().await.unwrap(), None));
    let start = Instant::now();
    assert_eq!(process.token().await.unwrap().secret(), "t2");
    assert!(start.elapsed() <= millis(600), "{:?}", start.elapsed());
}

#[test]
fn random_source_that_panics_is_replaced_by_the_default_one() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let mut waits = std::collections::HashSet::new();
    for _ in 0..8 {
        waits.insert(runtime().unwrap().block_on(async {
            let fleet = Fleet::default();
            let layer = layer(fleet.store.clone()).rng(|| panic!("by script"));
            let login = fleet.logins.service(|nth| async move { token(nth, secs(16)) });
            let mut service = layer.layer(login);
            log_in(&mut service, LoginReason::First).await.unwrap();
            fleet.store.set_available(false);
            let start = Instant::now();
            log_in(&mut service, LoginReason::Expiring).await.unwrap();
            start.elapsed()
        }));
    }
    assert!(waits.len() > 1, "{waits:?}");
}

/// A store whose calls take place 600 milliseconds later, even if the process no longer waits for them.
#[derive(Clone, Default)]
struct SlowStore(InMemoryTokenStore);

impl SlowStore {
    fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, BoxError>> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            let call = async move {
                sleep(millis(600)).await;
                call.await
            };
            tokio::spawn(call).await.unwrap()
        })
    }
}

impl TokenStore for SlowStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        let (store, key) = (self.0.clone(), *key);
        self.call(async move { store.load(&key).await })
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        let (store, key) = (self.0.clone(), *key);
        self.call(async move { store.claim(&key, expected, claim, time_to_live).await })
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        let (store, key) = (self.0.clone(), *key);
        self.call(async move { store.extend(&key, claim, time_to_live).await })
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        let (store, key) = (self.0.clone(), *key);
        self.call(async move { store.release(&key, claim).await })
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        let (store, key) = (self.0.clone(), *key);
        self.call(async move { store.put(&key, expected, claim, record).await })
    }
}

#[tokio::test(start_paused = true)]
async fn claim_granted_after_its_timeout_is_released() {
    let (fleet, store) = (Fleet::default(), SlowStore::default());
    let login = || fleet.logins.service(|_| async { Err("issuer unavailable".into()) });
    log_in(&mut layer(store.clone()).layer(login()), LoginReason::First).await.unwrap_err();
    sleep(millis(700)).await;
    let start = Instant::now();
    log_in(&mut layer(store.0).layer(login()), LoginReason::First).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn first_token_of_a_login_without_the_store_is_put_afterwards() {
    let (fleet, store) = (Fleet::default(), SlowStore::default());
    let login = || fleet.logins.service(|nth| async move { token(nth, HOUR) });
    let mut slow = layer(store.clone()).layer(login());
    assert_eq!(log_in(&mut slow, LoginReason::First).await.unwrap().secret(), "t1");
    sleep(secs(3)).await;
    let mut other = layer(store.0).layer(login());
    assert_eq!(log_in(&mut other, LoginReason::First).await.unwrap().secret(), "t1");
    assert_eq!(fleet.logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn flush_causes_one_login_at_the_next_refresh() {
    let fleet = Fleet::default();
    let processes = fleet.processes(20, HOUR);
    secrets(&processes).await;
    pass(&processes, 3600).await;
    assert_eq!(fleet.logins.started(), 2);
    fleet.store.flush();
    pass(&processes, 2 * 3400).await;
    assert_eq!(fleet.logins.started(), 4);
}

#[tokio::test(start_paused = true)]
async fn eviction_of_the_record_causes_one_login_of_a_new_process() {
    let fleet = Fleet::default();
    let processes = fleet.processes(5, HOUR);
    secrets(&processes).await;
    pass(&processes, 600).await;
    fleet.store.evict_records();
    let new = fleet.processes(5, HOUR);
    assert_eq!(secrets(&new).await, vec!["t2"; 5]);
    // The others adopt it at their refresh.
    pass(&processes, 2900).await;
    assert_eq!(processes.iter().map(at_once).collect::<Vec<_>>(), vec!["t2"; 5]);
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn eviction_during_a_login_is_repaired_by_the_next_one() {
    let fleet = Fleet::default();
    let processes = fleet.processes(3, HOUR);
    secrets(&processes).await;
    sleep(secs(60)).await;
    // The record is lost, and the claim is not: the put of the token expects the lost record.
    let refresh = processes[0].refresh();
    let (refreshed, ()) = tokio::join!(refresh, async {
        sleep(millis(100)).await;
        fleet.store.evict_records();
    });
    refreshed.unwrap();
    assert_eq!(at_once(&processes[0]), "t2");
    processes[1].refresh().await.unwrap();
    processes[2].refresh().await.unwrap();
    assert_eq!((at_once(&processes[1]), at_once(&processes[2])), ("t3".into(), "t3".into()));
}

#[tokio::test(start_paused = true)]
async fn claim_that_never_ends_delays_a_first_login_for_the_login_timeout() {
    let fleet = Fleet::default();
    let hanging = fleet.logins.service(|_| std::future::pending());
    // A claim of another version, say, that is not limited.
    let mut other = layer(fleet.store.clone())
        .claim_time_to_live(HOUR * 24)
        .login_timeout(HOUR * 24)
        .layer(hanging);
    let other = tokio::spawn(async move { log_in(&mut other, LoginReason::First).await });
    sleep(millis(1)).await;
    let mut service = layer(fleet.store.clone())
        .layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }));
    let start = Instant::now();
    assert_eq!(log_in(&mut service, LoginReason::First).await.unwrap().secret(), "t2");
    assert!(start.elapsed() >= secs(15) && start.elapsed() < secs(16), "{:?}", start.elapsed());
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn settings_without_a_limit_do_not_overflow() {
    let fleet = Fleet::default();
    let mut service = layer(fleet.store.clone())
        .login_timeout(Duration::MAX)
        .claim_time_to_live(Duration::MAX)
        .store_timeout(Duration::MAX)
        // The login without the store is not delayed.
        .rng(|| 0)
        .layer(fleet.logins.service(|nth| async move { token(nth, secs(4)) }));
    assert_eq!(log_in(&mut service, LoginReason::First).await.unwrap().secret(), "t1");
    fleet.store.set_available(false);
    assert_eq!(log_in(&mut service, LoginReason::Expiring).await.unwrap().secret(), "t2");
}

/// Each process that gets the claim waits for a response until its limit.
#[tokio::test(start_paused = true)]
async fn issuer_that_hangs_is_not_called_by_all_processes_at_once() {
    let fleet = Fleet::default();
    let login = |_| std::future::pending();
    let processes: Vec<_> =
        (0..100).map(|seed| fleet.builder(seed, login).build().unwrap()).collect();
    for _ in 0..600 {
        for process in &processes {
            drop(process.token().now_or_never());
        }
        sleep(millis(500)).await;
        assert!(fleet.logins.running() <= 2, "{} at the same time", fleet.logins.running());
    }
    assert!(fleet.logins.started() <= 25, "{} in 300 s", fleet.logins.started());
}

#[tokio::test(start_paused = true)]
async fn token_that_is_put_after_the_login_keeps_its_age() {
    let fleet = Fleet::default();
    // The store responds too late for the login, and in time for the put.
    fleet.store.set_delay(secs(4));
    let login = |nth| async move { token(nth, HOUR) };
    let first = fleet.builder(1, login).build().unwrap();
    first.token().await.unwrap();
    sleep(secs(20)).await;
    fleet.store.set_delay(Duration::ZERO);
    let second = fleet.builder(2, login).build().unwrap();
    assert_eq!(second.token().await.unwrap().secret(), "t1");
    // The time of the claim counts. The time of the put does not: the record does not contain it.
    let later = expires(&second).duration_since(expires(&first)).unwrap_or_default();
    assert!(later <= secs(5), "{later:?}");
}
