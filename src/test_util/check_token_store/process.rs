//! [`Process`]: a handle of the store, with its own claim id.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::violation::{
    StoreRule::{FreeClaimIsGranted, PutReplacesRecord},
    StoreViolation,
};
use crate::shared::{
    ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
};

/// A time to live that does not end during a check, however slow the machine is.
pub(super) const LONG: Duration = Duration::from_secs(3600);
/// A time to live whose end the checks wait for.
pub(super) const SHORT: Duration = Duration::from_millis(200);
/// The error of a store's clock that counts whole seconds, and of its rate.
pub(super) const TOLERANCE: Duration = Duration::from_millis(1250);
/// The time limits of a call, and of the wait for the end of a claim. They end a check that makes no progress.
const CALL_LIMIT: Duration = Duration::from_secs(30);
const CLAIM_LIMIT: Duration = Duration::from_secs(60);

/// Two handles of one store.
pub(super) struct Handles {
    pub(super) first: Arc<dyn TokenStore>,
    pub(super) second: Arc<dyn TokenStore>,
}

impl Handles {
    /// Returns two processes that share a new key, one with each handle.
    pub(super) fn processes(&self) -> [Process; 2] {
        let key = RecordKey::from_bytes(random());
        [Process::new(&self.first, key), Process::new(&self.second, key)]
    }
}

/// A simulated process: a handle, a key that processes share, and the id of its claims.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) key: RecordKey,
    pub(super) id: ClaimId,
}

impl Process {
    fn new(store: &Arc<dyn TokenStore>, key: RecordKey) -> Self {
        Self { store: store.clone(), key, id: ClaimId::from_bytes(random()) }
    }

    /// Returns another process with the same handle and key.
    pub(super) fn sibling(&self) -> Self {
        Self::new(&self.store, self.key)
    }

    pub(super) async fn load(&self) -> Result<Option<Record>, StoreViolation> {
        call("load failed", self.store.load(&self.key)).await
    }

    pub(super) async fn claim(
        &self,
        expected: Option<Revision>,
    ) -> Result<ClaimOutcome, StoreViolation> {
        self.claim_for(expected, LONG).await
    }

    pub(super) async fn claim_for(
        &self,
        expected: Option<Revision>,
        time_to_live: Duration,
    ) -> Result<ClaimOutcome, StoreViolation> {
        call("claim failed", self.store.claim(&self.key, expected, self.id, time_to_live)).await
    }

    pub(super) async fn extend(&self, time_to_live: Duration) -> Result<bool, StoreViolation> {
        call("extend failed", self.store.extend(&self.key, self.id, time_to_live)).await
    }

    pub(super) async fn release(&self) -> Result<(), StoreViolation> {
        call("release failed", self.store.release(&self.key, self.id)).await
    }

    pub(super) async fn put(
        &self,
        expected: Option<Revision>,
        record: &NewRecord,
    ) -> Result<bool, StoreViolation> {
        call("put failed", self.store.put(&self.key, expected, self.id, record.clone())).await
    }

    /// Claims. Fails if the claim is not granted.
    pub(super) async fn require_claim(
        &self,
        expected: Option<Revision>,
    ) -> Result<(), StoreViolation> {
        self.require_claim_for(expected, LONG).await
    }

    pub(super) async fn require_claim_for(
        &self,
        expected: Option<Revision>,
        time_to_live: Duration,
    ) -> Result<(), StoreViolation> {
        let claim = self.claim_for(expected, time_to_live).await?;
        FreeClaimIsGranted.require(claim == ClaimOutcome::Granted, "claim was not granted")
    }

    /// Puts a record. Fails if put returns false, so the claim must be granted.
    pub(super) async fn require_put(
        &self,
        expected: Option<Revision>,
        record: &NewRecord,
    ) -> Result<(), StoreViolation> {
        PutReplacesRecord.require(self.put(expected, record).await?, "put returned false")
    }

    /// Claims until the claim is granted, or the time limit is over. Returns whether it was granted.
    pub(super) async fn wait_for_claim(
        &self,
        expected: Option<Revision>,
    ) -> Result<bool, StoreViolation> {
        let granted = async {
            while self.claim(expected).await? != ClaimOutcome::Granted {
                sleep(SHORT / 10).await;
            }
            Ok(())
        };
        timeout(CLAIM_LIMIT, granted).await.map_or(Ok(false), |granted| granted.map(|()| true))
    }

    /// Claims. Returns whether the claim is denied.
    pub(super) async fn is_denied(
        &self,
        expected: Option<Revision>,
    ) -> Result<bool, StoreViolation> {
        Ok(matches!(self.claim(expected).await?, ClaimOutcome::Denied { .. }))
    }

    /// Returns whether the store has this record. `None`: whether it has no record.
    pub(super) async fn has(&self, record: Option<&NewRecord>) -> Result<bool, StoreViolation> {
        Ok(is_record(self.load().await?.as_ref(), record))
    }
}

/// Limits the time of a call.
async fn call<T>(failure: &'static str, call: StoreFuture<'_, T>) -> Result<T, StoreViolation> {
    match timeout(CALL_LIMIT, call).await {
        Ok(result) => result.map_err(|error| StoreViolation::unavailable(failure, error)),
        Err(error) => Err(StoreViolation::unavailable(failure, error.into())),
    }
}

pub(super) fn is_record(stored: Option<&Record>, put: Option<&NewRecord>) -> bool {
    match (stored, put) {
        (Some(stored), Some(put)) => stored.revision == put.revision && stored.bytes == put.bytes,
        (stored, put) => stored.is_none() && put.is_none(),
    }
}

/// Returns a record with a new revision. The store can delete it after an hour.
pub(super) fn new_record(bytes: &[u8]) -> NewRecord {
    NewRecord::new(Revision::from_bytes(random()), Bytes::copy_from_slice(bytes)).time_to_live(LONG)
}

pub(super) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the checks compare a store's ages with tokio's clock"
    )]
    Instant::now()
}

/// Returns random bytes, so that a check uses no key, revision or claim id that is in the store.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        let word = RandomState::new().hash_one(0).to_le_bytes();
        chunk.iter_mut().zip(word).for_each(|(byte, random)| *byte = random);
    }
    bytes
}
