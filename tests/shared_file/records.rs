//! What is stored.

use std::{fs, time::Duration};

use tower_auth_refresh::{
    shared::{ClaimOutcome, FileTokenStoreError, NewRecord, TokenStore},
    test_util::TestClock,
};

use crate::support::{HOUR, KEY, RecordKeyNumber, TempDir, file_error, id, put, revision};

#[tokio::test]
async fn record_of_any_bytes_is_loaded_as_it_was_put() {
    let directory = TempDir::new();
    let store = directory.store();
    let all_bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut expected = None;
    for (n, bytes) in
        [&b""[..], b"\0", b"\r\n\0\xff", &[0xff; 4096], &all_bytes].into_iter().enumerate()
    {
        let next = revision(n as u64);
        put(&store, expected, NewRecord::new(next, bytes.to_vec())).await;
        let record = store.load(&KEY.get()).await.unwrap().unwrap();
        assert!(record.bytes == bytes && record.revision == next, "{n}");
        expected = Some(next);
    }
}

#[tokio::test]
async fn record_that_is_too_large_is_an_error() {
    let directory = TempDir::new();
    let store = directory.store();
    store.claim(&KEY.get(), None, id(1), HOUR).await.unwrap();
    let record = NewRecord::new(revision(1), vec![0; (1 << 20) + 1]);
    let error = store.put(&KEY.get(), None, id(1), record).await.unwrap_err();
    assert!(matches!(file_error(error), FileTokenStoreError::TooLarge { len: 1_048_577 }));
    assert!(store.load(&KEY.get()).await.unwrap().is_none());
}

#[tokio::test]
async fn keys_have_their_own_records_and_claims() {
    let directory = TempDir::new();
    let store = directory.store();
    put(&store, None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    let other = RecordKeyNumber(1).get();
    assert!(store.load(&other).await.unwrap().is_none());
    assert_eq!(store.claim(&other, None, id(1), HOUR).await.unwrap(), ClaimOutcome::Granted);
    assert_eq!(
        store.claim(&KEY.get(), Some(revision(1)), id(2), HOUR).await.unwrap(),
        ClaimOutcome::Granted
    );
}

#[tokio::test]
async fn missing_directory_has_no_record_and_is_not_created_by_a_load() {
    let directory = TempDir::new();
    assert!(directory.store().load(&KEY.get()).await.unwrap().is_none());
    assert!(!directory.0.exists());
}

#[tokio::test]
async fn put_leaves_the_record_and_the_lock_file_only() {
    let directory = TempDir::new();
    put(&directory.store(), None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    assert_eq!(directory.extensions(), ["lock", "token"]);
}

#[tokio::test(start_paused = true)]
async fn expired_record_is_not_loaded_and_its_file_is_removed() {
    let (directory, clock) = (TempDir::new(), TestClock::default());
    let store = directory.store().clock(clock.clone());
    let record = NewRecord::new(revision(1), &b"sealed"[..]).time_to_live(Duration::from_secs(60));
    put(&store, None, record).await;
    clock.advance(Duration::from_secs(59));
    assert!(store.load(&KEY.get()).await.unwrap().is_some());
    clock.advance(Duration::from_secs(1));
    assert!(store.load(&KEY.get()).await.unwrap().is_none());
    assert!(directory.file(KEY, "token").exists());
    assert_eq!(store.claim(&KEY.get(), None, id(2), HOUR).await.unwrap(), ClaimOutcome::Granted);
    assert!(!directory.file(KEY, "token").exists());
}

#[tokio::test]
async fn error_names_the_file_and_no_content() {
    let directory = TempDir::new();
    fs::write(&directory.0, "s3cr3t").unwrap();
    let error = directory.store().load(&KEY.get()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("file type unexpected: {}", directory.0.display()));
    fs::remove_file(&directory.0).unwrap();
}
