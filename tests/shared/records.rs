//! Which records a process adopts, replaces, or leaves to others.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep},
};
use tower::Layer;
use tower_auth_refresh::{
    LoginError, LoginReason,
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, SealingKey, SealingKeys,
        SharedTokenLayer, StoreFuture, TokenStore,
    },
    test_util::InMemoryTokenStore,
};

use crate::{
    Fleet, at_once, identity, layer, log_in, millis, secrets,
    support::{HOUR, secs, token},
};

fn key(number: u8) -> SealingKey {
    SealingKey::new([number; 32])
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_replaced_once_for_all_processes() {
    let fleet = Fleet::default();
    let processes = fleet.processes(20, HOUR);
    secrets(&processes).await;
    sleep(secs(60)).await;
    // The token is revoked: each process gets a 401.
    for process in &processes {
        let rejected = process.token().await.unwrap();
        assert!(process.reject(&rejected, None));
    }
    assert_eq!(secrets(&processes).await, vec!["t2"; 20]);
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_not_adopted_again() {
    let fleet = Fleet::default();
    let (condition, link) = crate::link::Link::new(fleet.store.clone());
    let login = |nth| async move { token(nth, HOUR) };
    let first = fleet.builder(1, login).build().unwrap();
    let second = fleet.builder_with(link, 2, login).build().unwrap();
    assert_eq!(secrets(std::slice::from_ref(&first)).await, ["t1"]);
    assert_eq!(secrets(std::slice::from_ref(&second)).await, ["t1"]);
    sleep(secs(60)).await;
    // The second process cannot reach the store, so the rejected token stays there.
    condition.send_replace(crate::link::Condition::CutOff);
    assert!(second.reject(&second.token().await.unwrap(), None));
    assert_eq!(second.token().await.unwrap().secret(), "t2");
    condition.send_replace(crate::link::Condition::Well);
    sleep(secs(60)).await;
    assert!(second.reject(&second.token().await.unwrap(), None));
    assert_eq!(second.token().await.unwrap().secret(), "t3", "t1 is live in the store");
    assert_eq!(at_once(&first), "t1");
}

#[tokio::test(start_paused = true)]
async fn rejected_token_beside_an_error_is_not_adopted() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            2 => Err(LoginError::permanent("wrong password").into()),
            nth => token(nth, HOUR),
        }
    };
    let processes: Vec<_> =
        (0..2).map(|seed| fleet.builder(seed, login).build().unwrap()).collect();
    assert_eq!(secrets(&processes).await, ["t1", "t1"]);
    sleep(secs(60)).await;
    // The live token is put with another revision.
    processes[0].refresh().await.unwrap_err();
    sleep(secs(10)).await;
    assert!(processes[1].reject(&processes[1].token().await.unwrap(), None));
    assert_eq!(processes[1].token().await.unwrap().secret(), "t3");
}

#[tokio::test(start_paused = true)]
async fn record_sealed_with_an_unknown_key_is_not_replaced() {
    let fleet = Fleet::default();
    let service = |keys| {
        SharedTokenLayer::new(fleet.store.clone(), identity(), keys)
            .layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }))
    };
    let (mut new, mut old) = (service(SealingKeys::new(key(2))), service(SealingKeys::new(key(1))));
    assert_eq!(log_in(&mut new, LoginReason::First).await.unwrap().secret(), "t1");
    assert_eq!(log_in(&mut old, LoginReason::First).await.unwrap().secret(), "t2");
    assert_eq!(log_in(&mut old, LoginReason::Forced).await.unwrap().secret(), "t3");
    let mut another = service(SealingKeys::new(key(2)));
    assert_eq!(log_in(&mut another, LoginReason::First).await.unwrap().secret(), "t1");
}

#[tokio::test(start_paused = true)]
async fn record_put_after_a_failover_is_not_taken_for_the_lost_one() {
    let fleet = Fleet::default();
    let layer = layer(fleet.store.clone());
    let service = || layer.layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }));
    let (mut one, mut two, mut three) = (service(), service(), service());
    log_in(&mut one, LoginReason::First).await.unwrap();
    let replica = fleet.store.snapshot();
    sleep(secs(100)).await;
    assert_eq!(log_in(&mut one, LoginReason::Forced).await.unwrap().secret(), "t2");
    assert_eq!(log_in(&mut two, LoginReason::First).await.unwrap().secret(), "t2");
    fleet.store.restore(&replica);
    sleep(secs(100)).await;
    // It has seen neither the second record nor its number.
    assert_eq!(log_in(&mut three, LoginReason::First).await.unwrap().secret(), "t1");
    assert_eq!(log_in(&mut three, LoginReason::Forced).await.unwrap().secret(), "t3");
    assert_eq!(log_in(&mut two, LoginReason::Expiring).await.unwrap().secret(), "t3");
    assert_eq!(fleet.logins.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn damaged_record_is_replaced_at_once() {
    for is_sealed in [true, false] {
        let fleet = Fleet::default();
        let store = OddStore { damages_first_record: true, ..OddStore::default() };
        let layer = match is_sealed {
            true => layer(store),
            false => SharedTokenLayer::danger_unsealed(store, identity()),
        };
        let service = || layer.layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }));
        assert_eq!(log_in(&mut service(), LoginReason::First).await.unwrap().secret(), "t1");
        for _ in 0..2 {
            assert_eq!(log_in(&mut service(), LoginReason::First).await.unwrap().secret(), "t2");
        }
        assert_eq!(fleet.logins.started(), 2, "{is_sealed}");
    }
}

#[tokio::test(start_paused = true)]
async fn key_is_replaced_without_a_login() {
    let fleet = Fleet::default();
    let service = |keys| {
        SharedTokenLayer::new(fleet.store.clone(), identity(), keys)
            .layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }))
    };
    // Each step reaches the processes one after the other.
    let steps = [
        SealingKeys::new(key(1)),
        SealingKeys::new(key(1)).also_open(key(2)),
        SealingKeys::new(key(2)).also_open(key(1)),
        SealingKeys::new(key(2)),
    ];
    for (before, after) in steps.iter().zip(&steps[1..]) {
        let (mut one, mut two) = (service(before.clone()), service(after.clone()));
        log_in(&mut one, LoginReason::First).await.unwrap();
        let logins = fleet.logins.started();
        log_in(&mut one, LoginReason::Expiring).await.unwrap();
        let first = log_in(&mut two, LoginReason::First).await.unwrap();
        log_in(&mut two, LoginReason::Expiring).await.unwrap();
        let second = log_in(&mut one, LoginReason::Expiring).await.unwrap();
        assert_ne!(first.secret(), second.secret());
        assert_eq!(fleet.logins.started() - logins, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn record_that_no_process_can_read_is_replaced_after_a_lifetime() {
    let fleet = Fleet::default();
    let lost = SharedTokenLayer::new(fleet.store.clone(), identity(), SealingKeys::new(key(9)));
    // The token of the lost key never expires, so the store keeps its record.
    let login =
        fleet.logins.service(|_| async { Ok(tower_auth_refresh::AccessToken::bearer("lost")?) });
    log_in(&mut lost.layer(login), LoginReason::First).await.unwrap();
    let processes = fleet.processes(5, HOUR);
    secrets(&processes).await;
    assert_eq!(fleet.logins.started(), 6, "each process logs in");
    for _ in 0..2 * 360 {
        sleep(secs(10)).await;
        processes.iter().for_each(|process| drop(at_once(process)));
    }
    let logins = fleet.logins.started();
    for _ in 0..2 * 360 {
        sleep(secs(10)).await;
        processes.iter().for_each(|process| drop(at_once(process)));
    }
    assert!(fleet.logins.started() - logins <= 3, "{}", fleet.logins.started() - logins);
}

#[tokio::test(start_paused = true)]
async fn sealed_and_unsealed_processes_do_not_read_each_other() {
    let fleet = Fleet::default();
    let login = || fleet.logins.service(|nth| async move { token(nth, HOUR) });
    let mut unsealed =
        SharedTokenLayer::danger_unsealed(fleet.store.clone(), identity()).layer(login());
    let mut sealed = layer(fleet.store.clone()).layer(login());
    assert_eq!(log_in(&mut unsealed, LoginReason::First).await.unwrap().secret(), "t1");
    assert_eq!(log_in(&mut sealed, LoginReason::First).await.unwrap().secret(), "t2");
    let mut another =
        SharedTokenLayer::danger_unsealed(fleet.store.clone(), identity()).layer(login());
    assert_eq!(log_in(&mut another, LoginReason::First).await.unwrap().secret(), "t1");
}

#[tokio::test(start_paused = true)]
async fn identities_do_not_share() {
    let fleet = Fleet::default();
    let service = |scope| {
        let identity = identity().parameter("scope", scope);
        SharedTokenLayer::new(fleet.store.clone(), identity, crate::keys())
            .layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }))
    };
    assert_eq!(log_in(&mut service("read"), LoginReason::First).await.unwrap().secret(), "t1");
    assert_eq!(log_in(&mut service("write"), LoginReason::First).await.unwrap().secret(), "t2");
    assert_eq!(log_in(&mut service("read"), LoginReason::First).await.unwrap().secret(), "t1");
}

#[tokio::test(start_paused = true)]
async fn token_about_to_expire_is_not_adopted() {
    let fleet = Fleet::default();
    let layer = layer(fleet.store.clone());
    let service = || layer.layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }));
    log_in(&mut service(), LoginReason::First).await.unwrap();
    sleep(secs(3585)).await;
    assert_eq!(log_in(&mut service(), LoginReason::First).await.unwrap().secret(), "t1");
    sleep(secs(6)).await;
    assert_eq!(log_in(&mut service(), LoginReason::First).await.unwrap().secret(), "t2");
}

#[test]
fn debug_shows_no_key_and_no_token() {
    let shown = format!("{:?}", layer(InMemoryTokenStore::default()));
    assert!(shown.contains("login_timeout: 15s") && !shown.contains("1, 1, 1"), "{shown}");
}

/// A store that notifies its callers, damages a record, returns records in a loop, or panics.
#[derive(Clone, Default)]
struct OddStore {
    store: InMemoryTokenStore,
    changed: Arc<Notify>,
    panics: bool,
    is_read_only: bool,
    claims: Arc<Mutex<Vec<ClaimId>>>,
    damages_first_record: bool,
    /// Each claim returns another record that no process can read.
    returns_other_records: bool,
    records: Arc<AtomicUsize>,
}

impl TokenStore for OddStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.store.load(key)
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        self.claims.lock().unwrap().push(claim);
        if self.panics {
            return Box::pin(async { panic!("by script") });
        }
        if self.is_read_only {
            return Box::pin(async { Err("read-only store".into()) });
        }
        if self.returns_other_records {
            // A limit, so that a process that reads without end fails and does not hang.
            let number = u8::try_from(self.records.fetch_add(1, Ordering::SeqCst));
            return Box::pin(async move {
                let revision = Revision::from_bytes([number?; 16]);
                Ok(ClaimOutcome::Changed(Some(Record::new(revision, &b"{}"[..], Duration::ZERO))))
            });
        }
        self.store.claim(key, expected, claim, time_to_live)
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        self.store.extend(key, claim, time_to_live)
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        self.store.release(key, claim)
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        mut record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        if self.damages_first_record && self.records.fetch_add(1, Ordering::SeqCst) == 0 {
            record.bytes.truncate(record.bytes.len() - 1);
        }
        Box::pin(async move {
            let put = self.store.put(key, expected, claim, record).await;
            self.changed.notify_waiters();
            put
        })
    }

    fn changed<'a>(&'a self, _: &'a RecordKey, _: Option<Revision>) -> StoreFuture<'a, ()> {
        Box::pin(async {
            self.changed.notified().await;
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn change_notification_ends_the_wait_for_another_process() {
    let store = OddStore::default();
    let fleet = Fleet::default();
    let login = |nth| async move {
        sleep(millis(1040)).await;
        token(nth, HOUR)
    };
    let layer = layer(store.clone());
    let (mut one, mut two) =
        (layer.layer(fleet.logins.service(login)), layer.layer(fleet.logins.service(login)));
    let start = Instant::now();
    let (first, second) =
        tokio::join!(log_in(&mut one, LoginReason::First), log_in(&mut two, LoginReason::First));
    assert_eq!((first.unwrap().secret(), second.unwrap().secret()), ("t1", "t1"));
    assert_eq!(start.elapsed(), millis(1040));
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_store_is_an_unavailable_store() {
    let store = OddStore { panics: true, ..OddStore::default() };
    let fleet = Fleet::default();
    let mut service =
        layer(store).layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }));
    assert_eq!(log_in(&mut service, LoginReason::First).await.unwrap().secret(), "t1");
}

#[tokio::test(start_paused = true)]
async fn store_that_never_repeats_a_revision_does_not_block_a_login() {
    let store = OddStore { returns_other_records: true, ..OddStore::default() };
    let records = store.records.clone();
    let fleet = Fleet::default();
    let mut service = SharedTokenLayer::danger_unsealed(store, identity())
        .layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }));
    assert_eq!(log_in(&mut service, LoginReason::First).await.unwrap().secret(), "t1");
    assert!(records.load(Ordering::SeqCst) <= 17);
}

#[tokio::test(start_paused = true)]
async fn token_of_a_read_only_store_is_adopted() {
    let (fleet, store) = (Fleet::default(), OddStore::default());
    let read_only = OddStore { is_read_only: true, ..store.clone() };
    let login = || fleet.logins.service(|nth| async move { token(nth, HOUR) });
    let mut reader = layer(read_only).layer(login());
    assert_eq!(log_in(&mut reader, LoginReason::First).await.unwrap().secret(), "t1");
    sleep(secs(300)).await;
    let mut writer = layer(store).layer(login());
    assert_eq!(log_in(&mut writer, LoginReason::First).await.unwrap().secret(), "t2");
    sleep(secs(300)).await;
    assert_eq!(log_in(&mut reader, LoginReason::Expiring).await.unwrap().secret(), "t2");
    assert_eq!(fleet.logins.started(), 2);
}

/// The record of an error has a later revision than the token that it contains.
#[tokio::test(start_paused = true)]
async fn error_beside_a_token_of_before_a_failover_does_not_make_it_newer() {
    let fleet = Fleet::default();
    let layer = layer(fleet.store.clone());
    let service = || {
        layer.layer(fleet.logins.service(|nth| async move {
            match nth {
                3 => Err(LoginError::permanent("wrong password").into()),
                _ => token(nth, HOUR),
            }
        }))
    };
    let (mut one, mut two) = (service(), service());
    log_in(&mut one, LoginReason::First).await.unwrap();
    let replica = fleet.store.snapshot();
    // Two tokens that are about as old.
    sleep(secs(2)).await;
    assert_eq!(log_in(&mut one, LoginReason::Forced).await.unwrap().secret(), "t2");
    assert_eq!(log_in(&mut two, LoginReason::First).await.unwrap().secret(), "t2");
    sleep(secs(1000)).await;
    fleet.store.restore(&replica);
    log_in(&mut one, LoginReason::Expiring).await.unwrap_err();
    sleep(secs(10)).await;
    assert_eq!(log_in(&mut two, LoginReason::Expiring).await.unwrap().secret(), "t4");
}

/// So that its late release does not end the next claim.
#[tokio::test(start_paused = true)]
async fn claim_after_one_that_failed_has_another_id() {
    let (fleet, store) = (Fleet::default(), OddStore { is_read_only: true, ..OddStore::default() });
    let claims = store.claims.clone();
    let mut service =
        layer(store).layer(fleet.logins.service(|nth| async move { token(nth, HOUR) }));
    log_in(&mut service, LoginReason::First).await.unwrap();
    // The second is that of the put after the login without the store.
    sleep(secs(1)).await;
    let claims = claims.lock().unwrap().clone();
    assert_eq!(claims.len(), 2);
    assert_ne!(claims[0], claims[1]);
}

/// The guide names a test for each trap.
#[test]
fn each_test_that_the_guide_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src/shared"), root.join("tests")];
    let mut sources = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let guide = std::fs::read_to_string(root.join("src/guides/many_processes.md")).unwrap();
    let rows = guide.lines().skip_while(|line| *line != "| trap | test |").skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 30);
    for row in rows {
        let test = row.split('`').rev().nth(1).unwrap();
        assert!(sources.contains(&format!("fn {test}()")), "{test} does not exist: {row}");
    }
}
