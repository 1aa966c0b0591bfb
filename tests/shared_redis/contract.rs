//! The contract of a store, with each kind of connection.

use redis::cluster::ClusterClient;
use tower_auth_refresh::{shared::RedisTokenStore, test_util::check_token_store};

use crate::{
    open,
    server::{Server, free_port, until},
};

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn server_keeps_the_contract() {
    let server = Server::start().await;
    check_token_store(async || Ok(open(&server))).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn connection_manager_keeps_the_contract() {
    let server = Server::start().await;
    let client = redis::Client::open(server.url.as_str()).unwrap();
    check_token_store(async || {
        Ok(RedisTokenStore::from_connection(client.get_connection_manager().await?)
            .prefix("manager"))
    })
    .await
    .unwrap();
}

/// Scripts in a cluster are executed only if all their keys belong to one slot.
#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn cluster_keeps_the_contract() {
    let bus = free_port().to_string();
    let server = Server::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await;
    server.command::<()>("CLUSTER ADDSLOTSRANGE 0 16383").await.unwrap();
    until("cluster is not ready", async || {
        let info: String = server.command("CLUSTER INFO").await.unwrap();
        info.contains("cluster_state:ok")
    })
    .await;
    let cluster = ClusterClient::new(vec![server.url.as_str()]).unwrap();
    check_token_store(async || {
        Ok(RedisTokenStore::from_connection(cluster.get_async_connection().await?))
    })
    .await
    .unwrap();
}
