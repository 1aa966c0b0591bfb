//! Processes that are killed.

use std::{thread::sleep, time::Instant};

use tower_auth_refresh::{
    shared::{ClaimOutcome, NewRecord, TokenStore},
    test_util::TestClock,
};

use crate::{
    process::{Process, content},
    support::{HOUR, KEY, RecordKeyNumber, TempDir, id, number, revision},
};

#[tokio::test]
async fn killed_process_leaves_a_whole_record() {
    let directory = TempDir::new();
    let store = directory.store();
    for round in 0..20 {
        let mut process = Process::start("put", &directory.0);
        let mut put: u64 = process.line().parse().unwrap();
        let (start, puts) = (Instant::now(), fastrand::u32(1..10));
        for _ in 0..puts {
            put = process.line().parse().unwrap();
        }
        // At any point of a put, however long it takes here.
        sleep(start.elapsed() / puts * fastrand::u32(..1000) / 1000);
        process.kill();
        let record = store.load(&KEY.get()).await.unwrap().unwrap();
        let found = number(record.revision);
        assert!(found >= put, "{round}: {found} after {put}");
        assert!(record.bytes == content(found), "{round}");
    }
    // The files are usable: the claim of the killed process is renewed by its id.
    let expected = store.load(&KEY.get()).await.unwrap().map(|record| record.revision);
    assert_eq!(
        store.claim(&KEY.get(), expected, id(7), HOUR).await.unwrap(),
        ClaimOutcome::Granted
    );
    let record = NewRecord::new(revision(1), &b"new"[..]);
    assert!(store.put(&KEY.get(), expected, id(7), record).await.unwrap());
    assert_eq!(directory.extensions(), ["lock", "token"]);
}

#[tokio::test(start_paused = true)]
async fn claim_of_a_killed_process_ends_after_its_time_to_live() {
    let directory = TempDir::new();
    let key = RecordKeyNumber(3);
    let mut process = Process::start("claim", &directory.0);
    assert_eq!(process.line(), "ready");
    process.send("3 1");
    assert_eq!(process.line(), "granted");
    process.kill();
    let claim = directory.store().claim(&key.get(), None, id(2), HOUR).await.unwrap();
    assert!(
        matches!(claim, ClaimOutcome::Denied { expires_in } if expires_in <= HOUR),
        "{claim:?}"
    );
    // This clock is a century ahead.
    let clock = TestClock::default();
    let store = directory.store().clock(clock.clone());
    clock.advance(100 * 365 * 24 * HOUR);
    assert_eq!(store.claim(&key.get(), None, id(2), HOUR).await.unwrap(), ClaimOutcome::Granted);
}

#[tokio::test]
async fn temporary_files_are_removed() {
    let directory = TempDir::new();
    let store = directory.store();
    let record = |number| NewRecord::new(revision(number), &b"new"[..]);
    assert!(!store.put(&KEY.get(), None, id(1), record(1)).await.unwrap());
    assert_eq!(directory.extensions(), ["lock"]);

    for rest in ["new", "0123456789abcdef.new"] {
        std::fs::write(directory.file(KEY, rest), "rest of a process that was killed").unwrap();
    }
    assert_eq!(store.claim(&KEY.get(), None, id(1), HOUR).await.unwrap(), ClaimOutcome::Granted);
    assert!(store.put(&KEY.get(), None, id(1), record(1)).await.unwrap());
    assert_eq!(directory.extensions(), ["lock", "token"]);
}
