//! A store over a table of a database: conditional updates of one row, and the database's clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::yield_now, time::Instant};
use tower_auth_refresh::{
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
    },
    test_util::check_token_store,
};

use super::after;

/// `CREATE TABLE token (key BYTEA PRIMARY KEY, revision BYTEA, bytes BYTEA, put_at TIMESTAMP, claim BYTEA, claim_until TIMESTAMP)`
#[derive(Clone, Default)]
struct Row {
    revision: Option<Revision>,
    bytes: Bytes,
    put_at: Option<Instant>,
    claim: Option<ClaimId>,
    claim_until: Option<Instant>,
}

impl Row {
    /// `claim_until > now()`. A comparison with `NULL` is false.
    fn is_claimed(&self, now: Instant) -> bool {
        self.claim_until.is_some_and(|until| until > now)
    }

    fn is_claimed_by(&self, claim: ClaimId, now: Instant) -> bool {
        self.claim == Some(claim) && self.is_claimed(now)
    }

    fn record(&self, now: Instant) -> Option<Record> {
        let (revision, put_at) = (self.revision?, self.put_at?);
        Some(Record::new(revision, self.bytes.clone(), now.saturating_duration_since(put_at)))
    }
}

/// Executes one statement at a time, each with its `now()`.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<HashMap<RecordKey, Row>>>);

impl Database {
    /// `INSERT INTO token (key) VALUES ($1) ON CONFLICT DO NOTHING`
    async fn insert_if_missing(&self, key: &RecordKey) {
        yield_now().await;
        self.0.lock().unwrap().entry(*key).or_default();
    }

    /// `SELECT …, now() FROM token WHERE key = $1`
    async fn select(&self, key: &RecordKey) -> (Row, Instant) {
        yield_now().await;
        (self.0.lock().unwrap().get(key).cloned().unwrap_or_default(), Instant::now())
    }

    /// `UPDATE token SET … WHERE key = $1 AND …`. Returns whether a row was updated.
    async fn update(
        &self,
        key: &RecordKey,
        condition: impl Fn(&Row, Instant) -> bool + Send,
        set: impl Fn(&mut Row, Instant) + Send,
    ) -> bool {
        yield_now().await;
        let (mut rows, now) = (self.0.lock().unwrap(), Instant::now());
        let row = rows.get_mut(key).filter(|row| condition(row, now));
        row.map(|row| set(row, now)).is_some()
    }
}

struct SqlStore(Database);

impl TokenStore for SqlStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            let (row, now) = self.0.select(key).await;
            Ok(row.record(now))
        })
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        Box::pin(async move {
            self.0.insert_if_missing(key).await;
            // `WHERE revision IS NOT DISTINCT FROM $2 AND (claim = $3 OR claim_until > now() IS NOT TRUE)`
            let is_free = |row: &Row, now| {
                row.revision == expected && (row.claim == Some(claim) || !row.is_claimed(now))
            };
            let set = |row: &mut Row, now| {
                row.claim = Some(claim);
                row.claim_until = Some(after(now, time_to_live));
            };
            if self.0.update(key, is_free, set).await {
                return Ok(ClaimOutcome::Granted);
            }
            // The row of a later time: the claim is denied at that time. If it has ended, the process claims again.
            let (row, now) = self.0.select(key).await;
            if row.revision != expected {
                return Ok(ClaimOutcome::Changed(row.record(now)));
            }
            let until = row.claim_until.unwrap_or(now);
            Ok(ClaimOutcome::Denied { expires_in: until.saturating_duration_since(now) })
        })
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let is_claimed = |row: &Row, now| row.is_claimed_by(claim, now);
            let set = |row: &mut Row, now| row.claim_until = Some(after(now, time_to_live));
            Ok(self.0.update(key, is_claimed, set).await)
        })
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let set = |row: &mut Row, _| row.claim_until = None;
            self.0.update(key, |row, _| row.claim == Some(claim), set).await;
            Ok(())
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let can_put =
                |row: &Row, now| row.revision == expected && row.is_claimed_by(claim, now);
            let set = |row: &mut Row, now| {
                *row = Row {
                    revision: Some(record.revision),
                    bytes: record.bytes.clone(),
                    put_at: Some(now),
                    claim: None,
                    claim_until: None,
                };
            };
            Ok(self.0.update(key, can_put, set).await)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn store_of_conditional_updates_passes() {
    let database = Database::default();
    check_token_store(|| {
        let database = database.clone();
        async { Ok(SqlStore(database)) }
    })
    .await
    .unwrap();
}
