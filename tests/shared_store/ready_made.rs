//! The stores of this crate that need no server. `tests/shared_redis` has the other one.

use tower_auth_refresh::test_util::{InMemoryTokenStore, check_token_store};

#[tokio::test(start_paused = true)]
async fn in_memory_store_passes() {
    let store = InMemoryTokenStore::default();
    check_token_store(async || Ok(store.clone())).await.unwrap();
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
