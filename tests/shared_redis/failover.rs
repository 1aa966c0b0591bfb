//! Failover by Sentinel.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use redis::sentinel::{SentinelClient, SentinelServerType};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tower_auth_refresh::shared::{ClaimOutcome, RedisTokenStore, TokenStore};

use crate::{
    LONG, claim_id, key, loaded, put_first, record,
    server::{LIMIT, Server, until},
};

const NAME: &str = "tokens";

/// A primary, its replica, and a Sentinel that knows both.
struct Servers {
    primary: Server,
    replica: Server,
    sentinel: Server,
}

impl Servers {
    async fn start() -> Self {
        let primary = Server::start().await;
        let port = primary.port.to_string();
        let replica = Server::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]).await;
        let sentinel = Server::start_sentinel(NAME, &primary).await;
        let servers = Self { primary, replica, sentinel };
        until("replica is not known", async || {
            let replicas = format!("SENTINEL REPLICAS {NAME}");
            let known: Vec<redis::Value> =
                servers.sentinel.command(&replicas).await.unwrap_or_default();
            let info: String = servers.replica.command("INFO replication").await.unwrap();
            known.len() == 1 && info.contains("master_link_status:up")
        })
        .await;
        servers
    }

    fn store(&self) -> RedisTokenStore {
        let sentinels = vec![self.sentinel.url.as_str()];
        let kind = SentinelServerType::Master;
        let client = SentinelClient::build(sentinels, NAME, None, kind).unwrap();
        let client = Arc::new(Mutex::new(client));
        RedisTokenStore::connect_with(move || {
            let client = client.clone();
            async move { client.lock().await.get_async_connection().await }
        })
    }

    async fn wait_for_copy(&self) {
        until("record is not copied to the replica", async || {
            self.replica.command::<u64>("DBSIZE").await.unwrap() > 0
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs redis-sentinel: cargo test --all-features --test shared_redis -- --ignored"]
async fn primary_that_crashed_is_replaced() {
    let mut servers = Servers::start().await;
    let store = servers.store();
    put_first(&store, 1).await;
    servers.wait_for_copy().await;

    servers.primary.kill();
    let (expected, started) = (Some(record(1).revision), Instant::now());
    until("store does not recover", async || {
        // As a layer calls it. The time to live is renewed, so the claim can be repeated.
        let claim =
            timeout(LIMIT, store.claim(&key(1), expected, claim_id(1), LONG)).await.unwrap();
        matches!(claim, Ok(ClaimOutcome::Granted))
    })
    .await;
    println!("the new primary was used after {:?}", started.elapsed());
    assert!(store.put(&key(1), expected, claim_id(1), record(2)).await.unwrap());
    assert_eq!(loaded(&store, 1).await, Some(2));
}

#[tokio::test]
#[ignore = "needs redis-sentinel: cargo test --all-features --test shared_redis -- --ignored"]
async fn primary_that_became_a_replica_is_replaced_by_the_next_call() {
    let servers = Servers::start().await;
    let store = servers.store();
    put_first(&store, 1).await;
    servers.wait_for_copy().await;

    servers.sentinel.command::<()>(&format!("SENTINEL FAILOVER {NAME}")).await.unwrap();
    until("primary does not become a replica", async || {
        // Sentinel closes the connections to the old primary.
        let info: String = servers.primary.command("INFO replication").await.unwrap_or_default();
        info.contains("role:slave") && info.contains("master_link_status:up")
    })
    .await;
    let expected = Some(record(1).revision);
    let claim = store.claim(&key(1), expected, claim_id(1), LONG).await.unwrap();
    assert_eq!(claim, ClaimOutcome::Granted);
    assert!(store.put(&key(1), expected, claim_id(1), record(2)).await.unwrap());
}

/// `REPLICAOF` without Sentinel, which would close the connections to the old primary.
#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn read_only_server_is_left_by_the_next_call() {
    let (old, new) = (Server::start().await, Server::start().await);
    let clients = [&old, &new].map(|server| redis::Client::open(server.url.as_str()).unwrap());
    let attempts = AtomicUsize::new(0);
    let store = RedisTokenStore::connect_with(move || {
        let client = clients[attempts.fetch_add(1, SeqCst).min(1)].clone();
        async move { client.get_multiplexed_async_connection().await }
    });
    put_first(&store, 1).await;
    old.command::<()>(&format!("REPLICAOF 127.0.0.1 {}", new.port)).await.unwrap();
    let claim = store.claim(&key(2), None, claim_id(1), LONG).await.unwrap();
    assert_eq!(claim, ClaimOutcome::Granted);
}
