//! The stores of this crate that need no server. `tests/shared_redis` has the other one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_auth_refresh::{
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
    },
    test_util::{InMemoryTokenStore, check_token_store},
};

#[tokio::test(start_paused = true)]
async fn in_memory_store_passes() {
    let store = InMemoryTokenStore::default();
    check_token_store(async || Ok(store.clone())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shared_pointer_to_a_store_passes() {
    let store: Arc<dyn TokenStore> = Arc::new(InMemoryTokenStore::default());
    check_token_store(async || Ok(store.clone())).await.unwrap();
}

/// Records the time to live of the last record of each key.
#[derive(Clone, Default)]
struct Recorded(InMemoryTokenStore, Arc<Mutex<HashMap<RecordKey, Option<Duration>>>>);

impl TokenStore for Recorded {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.load(key)
    }
    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        self.0.claim(key, expected, claim, time_to_live)
    }
    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        self.0.extend(key, claim, time_to_live)
    }
    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        self.0.release(key, claim)
    }
    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let time_to_live = record.time_to_live;
            let is_put = self.0.put(key, expected, claim, record).await?;
            if is_put {
                self.1.lock().unwrap().insert(*key, time_to_live);
            }
            Ok(is_put)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn check_leaves_no_record_for_more_than_an_hour() {
    let store = Recorded::default();
    check_token_store(async || Ok(store.clone())).await.unwrap();
    let left = store.1.lock().unwrap();
    let hour = Duration::from_secs(3600);
    assert!(!left.is_empty() && left.values().all(|left| left.is_some_and(|left| left <= hour)));
}

/// Takes about five seconds: the clock of files cannot be paused.
#[cfg(feature = "shared-file")]
#[tokio::test]
async fn file_store_passes() {
    use tower_auth_refresh::shared::FileTokenStore;

    let name = format!("tower-auth-refresh-store-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let outcome = check_token_store(async || Ok(FileTokenStore::new(&directory))).await;
    std::fs::remove_dir_all(&directory).unwrap();
    outcome.unwrap();
}
