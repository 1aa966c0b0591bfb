//! Servers that lose data, stop, freeze, or have no memory.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tower_auth_refresh::shared::{ClaimOutcome, RedisTokenStore, TokenStore};

use crate::{
    LONG, claim_id, key, loaded, open, put_first, record,
    server::{LIMIT, Server, until},
};

/// The limit of a layer for its store.
const STORE_TIMEOUT: Duration = Duration::from_millis(500);

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn flushed_server_grants_the_next_claim() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    let expected = Some(record(1).revision);
    store.claim(&key(1), expected, claim_id(1), LONG).await.unwrap();

    server.command::<()>("FLUSHALL").await.unwrap();
    server.command::<()>("SCRIPT FLUSH").await.unwrap();
    assert!(!store.extend(&key(1), claim_id(1), LONG).await.unwrap());
    assert!(!store.put(&key(1), expected, claim_id(1), record(2)).await.unwrap());
    assert_eq!(
        store.claim(&key(1), expected, claim_id(1), LONG).await.unwrap(),
        ClaimOutcome::Changed(None)
    );
    put_first(&store, 1).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn restarted_server_is_used_by_the_next_call() {
    let mut server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    server.restart().await;
    assert_eq!(loaded(&store, 1).await, None);
    put_first(&store, 1).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn stopped_server_is_an_error_until_it_is_started() {
    let mut server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    server.kill();
    for _ in 0..3 {
        timeout(LIMIT, store.load(&key(1))).await.unwrap().unwrap_err();
    }
    server.restart().await;
    assert_eq!(loaded(&store, 1).await, None);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn server_that_closed_the_connection_is_used_by_the_next_call() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    server.command::<()>("CLIENT KILL TYPE normal SKIPME yes").await.unwrap();
    assert_eq!(loaded(&store, 1).await, Some(1));
}

/// Calls are dropped at the limit of the layer, so the store does not see an error.
#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn frozen_server_is_used_when_it_continues() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    server.signal("-STOP");
    for _ in 0..3 {
        timeout(STORE_TIMEOUT, store.load(&key(1))).await.unwrap_err();
    }
    server.signal("-CONT");
    assert_eq!(timeout(LIMIT, loaded(&store, 1)).await.unwrap(), Some(1));
}

/// The connection is replaced even if the server never responds on it again.
#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn frozen_connection_does_not_affect_later_calls() {
    let (frozen, second) = (Server::start().await, Server::start().await);
    let clients =
        [&frozen, &second].map(|server| redis::Client::open(server.url.as_str()).unwrap());
    let attempts = AtomicUsize::new(0);
    let store = RedisTokenStore::connect_with(move || {
        let client = clients[attempts.fetch_add(1, SeqCst).min(1)].clone();
        async move { client.get_multiplexed_async_connection().await }
    });
    put_first(&store, 1).await;
    frozen.signal("-STOP");
    timeout(STORE_TIMEOUT / 5, store.load(&key(1))).await.unwrap_err();
    assert_eq!(loaded(&store, 1).await, None);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn evicted_record_is_put_again() {
    let server = Server::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    let store = open(&server);
    put_first(&store, 1).await;
    server.command::<()>("CONFIG SET maxmemory 3mb").await.unwrap();
    let fill = |number: usize| format!("SET junk{number} {}", "x".repeat(100_000));
    let start = Instant::now();
    let mut number = 0;
    while loaded(&store, 1).await.is_some() {
        server.command::<()>(&fill(number)).await.unwrap();
        number += 1;
        assert!(start.elapsed() < LIMIT, "record was not evicted");
    }
    put_first(&store, 1).await;
}

/// Redis does not undo the writes of a script that fails.
#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn put_without_memory_keeps_the_record() {
    let server = Server::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let store = open(&server);
    put_first(&store, 1).await;
    let expected = Some(record(1).revision);
    store.claim(&key(1), expected, claim_id(1), LONG).await.unwrap();
    server.command::<()>("CONFIG SET maxmemory 1").await.unwrap();
    store.put(&key(1), expected, claim_id(1), record(2)).await.unwrap_err();
    store.claim(&key(2), None, claim_id(1), LONG).await.unwrap_err();
    assert_eq!(loaded(&store, 1).await, Some(1));

    server.command::<()>("CONFIG SET maxmemory 0").await.unwrap();
    assert!(store.put(&key(1), expected, claim_id(1), record(2)).await.unwrap());
}

/// The store repeats a call whose reply was lost.
#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn put_that_took_place_succeeds_again() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    assert!(store.clone().put(&key(1), None, claim_id(1), record(1)).await.unwrap());

    let mut other = record(1);
    other.bytes = vec![9].into();
    assert!(!store.put(&key(1), None, claim_id(1), other).await.unwrap());
    let expected = Some(record(1).revision);
    store.claim(&key(1), expected, claim_id(2), LONG).await.unwrap();
    assert!(store.put(&key(1), None, claim_id(1), record(1)).await.unwrap());
    assert!(store.put(&key(1), expected, claim_id(2), record(2)).await.unwrap());
    assert!(!store.put(&key(1), None, claim_id(1), record(1)).await.unwrap());
    assert_eq!(loaded(&store, 1).await, Some(2));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn server_that_is_not_there_yet_is_used_later() {
    let mut server = Server::start().await;
    server.kill();
    let store = open(&server);
    store.load(&key(1)).await.unwrap_err();
    server.restart().await;
    until("store does not recover", async || store.load(&key(1)).await.is_ok()).await;
}
