//! Tests of `RedisTokenStore` with real servers. They need the programs `redis-server` and `redis-sentinel`, 7.0 or
//! newer (Debian's packages have these names).
#![cfg(feature = "shared-redis")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod contract;
mod failover;
mod failures;
mod keys;
mod server;

use std::time::Duration;

use tower_auth_refresh::shared::{
    ClaimId, ClaimOutcome, NewRecord, RecordKey, RedisTokenStore, Revision, TokenStore,
};

const LONG: Duration = Duration::from_secs(3600);

fn key(number: u8) -> RecordKey {
    RecordKey::from_bytes([number; 32])
}

fn claim_id(number: u8) -> ClaimId {
    ClaimId::from_bytes([number; 16])
}

fn record(number: u8) -> NewRecord {
    NewRecord::new(Revision::from_bytes([number; 16]), vec![number; 100]).time_to_live(LONG)
}

/// Claims and puts the first record of a key.
async fn put_first(store: &impl TokenStore, number: u8) {
    let claim = store.claim(&key(number), None, claim_id(1), LONG).await.unwrap();
    assert_eq!(claim, ClaimOutcome::Granted);
    assert!(store.put(&key(number), None, claim_id(1), record(number)).await.unwrap());
}

/// Returns the number of the record.
async fn loaded(store: &impl TokenStore, number: u8) -> Option<u8> {
    let record = store.load(&key(number)).await.unwrap()?;
    Some(record.revision.as_bytes()[0])
}

fn open(server: &server::Server) -> RedisTokenStore {
    RedisTokenStore::open(server.url.as_str()).unwrap()
}
