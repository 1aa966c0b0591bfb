//! Ages and claims, by the wall clock.

use std::time::Duration;

use tower_auth_refresh::{
    shared::{ClaimOutcome, NewRecord, TokenStore},
    test_util::TestClock,
};

use crate::support::{HOUR, KEY, TempDir, id, put, revision};

const TTL: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn claim_ends_after_its_time_to_live() {
    let (directory, clock) = (TempDir::new(), TestClock::default());
    let (first, second) =
        (directory.store().clock(clock.clone()), directory.store().clock(clock.clone()));
    let key = &KEY.get();
    assert_eq!(first.claim(key, None, id(1), TTL).await.unwrap(), ClaimOutcome::Granted);
    clock.advance(TTL / 5);
    let denied = ClaimOutcome::Denied { expires_in: TTL * 4 / 5 };
    assert_eq!(second.claim(key, None, id(2), TTL).await.unwrap(), denied);
    assert!(first.extend(key, id(1), TTL).await.unwrap());
    clock.advance(TTL * 4 / 5);
    let denied = ClaimOutcome::Denied { expires_in: TTL / 5 };
    assert_eq!(second.claim(key, None, id(2), TTL).await.unwrap(), denied);
    clock.advance(TTL / 5);
    assert!(!first.extend(key, id(1), TTL).await.unwrap());
    assert!(!first.put(key, None, id(1), NewRecord::new(revision(1), &b"late"[..])).await.unwrap());
    assert_eq!(second.claim(key, None, id(2), TTL).await.unwrap(), ClaimOutcome::Granted);
    first.release(key, id(1)).await.unwrap();
    assert!(second.put(key, None, id(2), NewRecord::new(revision(2), &b"new"[..])).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn claim_from_the_future_ends_after_its_time_to_live() {
    let (directory, clock) = (TempDir::new(), TestClock::default());
    let store = directory.store().clock(clock.clone());
    let key = &KEY.get();
    clock.advance(365 * DAY);
    assert_eq!(store.claim(key, None, id(1), TTL).await.unwrap(), ClaimOutcome::Granted);
    clock.rewind(365 * DAY);
    for elapsed in 0..5 {
        let expires_in = TTL - Duration::from_secs(elapsed);
        assert_eq!(
            store.claim(key, None, id(2), TTL).await.unwrap(),
            ClaimOutcome::Denied { expires_in }
        );
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(store.claim(key, None, id(2), TTL).await.unwrap(), ClaimOutcome::Granted);
}

#[tokio::test(start_paused = true)]
async fn process_keeps_its_claim_if_the_clock_is_set_back() {
    let (directory, clock) = (TempDir::new(), TestClock::default());
    let store = directory.store().clock(clock.clone());
    let key = &KEY.get();
    assert_eq!(store.claim(key, None, id(1), TTL).await.unwrap(), ClaimOutcome::Granted);
    clock.rewind(DAY);
    assert!(store.extend(key, id(1), TTL).await.unwrap());
    clock.rewind(DAY);
    assert!(store.put(key, None, id(1), NewRecord::new(revision(1), &b"new"[..])).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_the_put_and_is_zero_if_the_clock_is_set_back() {
    let (directory, clock) = (TempDir::new(), TestClock::default());
    let store = directory.store().clock(clock.clone());
    put(&store, None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    let age = async || store.load(&KEY.get()).await.unwrap().unwrap().age;
    assert_eq!(age().await, Duration::ZERO);
    clock.advance(HOUR);
    assert_eq!(age().await, HOUR);
    let claim = store.claim(&KEY.get(), None, id(2), TTL).await.unwrap();
    assert!(matches!(claim, ClaimOutcome::Changed(Some(record)) if record.age == HOUR));
    clock.rewind(DAY);
    assert_eq!(age().await, Duration::ZERO);
}
