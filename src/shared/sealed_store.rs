//! [`SealedStore`]: one identity's record in a store, sealed, with a time limit for each call.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::{
    ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, SealingKeys, StoreFuture,
    TokenStore,
    payload::Payload,
    seal::{OpenError, is_sealed},
};
use crate::{
    BoxError,
    clock::{Timestamp, system_clock},
    panic,
};

#[derive(Clone)]
pub(super) struct SealedStore {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) key: RecordKey,
    /// `None`: the records are plaintext.
    pub(super) keys: Option<SealingKeys>,
}

/// The outcome of a claim.
pub(super) enum Claimed {
    Granted,
    Denied { expires_in: Duration },
    Changed(Option<Box<OpenedRecord>>),
}

pub(super) struct OpenedRecord {
    pub(super) revision: Revision,
    /// The time since the record was put: never less, and more by the duration of the call at most.
    pub(super) age: Duration,
    /// The content, with its ages. An error means that this process cannot read it.
    pub(super) payload: Result<Payload, BoxError>,
}

impl SealedStore {
    pub(super) async fn claim(
        &self,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
        limit: Duration,
    ) -> Result<Claimed, BoxError> {
        let start = read_clocks();
        let call = || self.store.claim(&self.key, expected, claim, time_to_live);
        Ok(match with_timeout("claim", limit, call).await? {
            ClaimOutcome::Granted => Claimed::Granted,
            ClaimOutcome::Denied { expires_in } => Claimed::Denied { expires_in },
            ClaimOutcome::Changed(record) => Claimed::Changed(
                // The record may have been on its way for as long as the call took.
                record.map(|record| Box::new(self.open(record, start.elapsed_at(read_clocks())))),
            ),
        })
    }

    pub(super) async fn load(&self, limit: Duration) -> Result<Option<OpenedRecord>, BoxError> {
        let start = read_clocks();
        let record = with_timeout("load", limit, || self.store.load(&self.key)).await?;
        Ok(record.map(|record| self.open(record, start.elapsed_at(read_clocks()))))
    }

    pub(super) async fn extend(
        &self,
        claim: ClaimId,
        time_to_live: Duration,
        limit: Duration,
    ) -> Result<bool, BoxError> {
        with_timeout("extend", limit, || self.store.extend(&self.key, claim, time_to_live)).await
    }

    pub(super) async fn release(&self, claim: ClaimId, limit: Duration) -> Result<(), BoxError> {
        with_timeout("release", limit, || self.store.release(&self.key, claim)).await
    }

    /// Returns `false` if the claim has ended or the record has changed.
    pub(super) async fn put(
        &self,
        expected: Option<Revision>,
        claim: ClaimId,
        revision: Revision,
        payload: &Payload,
        time_to_live: Option<Duration>,
        limit: Duration,
    ) -> Result<bool, BoxError> {
        let mut record = NewRecord::new(revision, self.seal(revision, payload)?);
        record.time_to_live = time_to_live;
        with_timeout("put", limit, || self.store.put(&self.key, expected, claim, record)).await
    }

    /// Waits until the record or the claim may have changed, for `min` at least and `max` at most.
    pub(super) async fn changed(&self, expected: Option<Revision>, min: Duration, max: Duration) {
        let hint = async {
            if with_timeout("changed", max, || self.store.changed(&self.key, expected))
                .await
                .is_err()
            {
                // A store without this method must not make the process poll more often.
                pending::<()>().await;
            }
        };
        let _ = tokio::join!(sleep(min), timeout(max, hint));
    }

    fn seal(&self, revision: Revision, payload: &Payload) -> Result<Bytes, BoxError> {
        let plain = payload.encode().ok_or("record content not encoded")?;
        match &self.keys {
            Some(keys) => Ok(keys.seal(&self.key, &revision, &plain)?),
            None => Ok(Bytes::copy_from_slice(&plain)),
        }
    }

    fn open(&self, record: Record, delay: Duration) -> OpenedRecord {
        let age = record.age.saturating_add(delay);
        let plain = match &self.keys {
            Some(keys) => {
                keys.open(&self.key, &record.revision, &record.bytes).map_err(BoxError::from)
            }
            None if is_sealed(&record.bytes) => Err("record is sealed".into()),
            None => Ok(Zeroizing::new(record.bytes.to_vec())),
        };
        let payload = plain.and_then(|plain| match (Payload::decode(&plain), &self.keys) {
            (Some(payload), _) => Ok(payload.aged(age)),
            (None, None) => Err(OpenError::Damaged.into()),
            // It is authentic, so it is that of another version of this crate.
            (None, Some(_)) => Err("record content invalid".into()),
        });
        OpenedRecord { revision: record.revision, age, payload }
    }
}

pub(super) fn read_clocks() -> Timestamp {
    Timestamp::now(&*system_clock())
}

/// Limits the time of a call of the store, and turns a panic into an error.
async fn with_timeout<'a, T>(
    method: &str,
    limit: Duration,
    call: impl FnOnce() -> StoreFuture<'a, T>,
) -> Result<T, BoxError> {
    let panicked = || BoxError::from(format!("token store panicked during {method}"));
    let mut call = panic::catch(call).ok_or_else(panicked)?;
    let call = poll_fn(|cx| {
        panic::catch(|| call.as_mut().poll(cx)).unwrap_or_else(|| Poll::Ready(Err(panicked())))
    });
    timeout(limit, call).await.unwrap_or_else(|_| {
        Err(format!("token store timed out during {method} after {limit:?}").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(call: impl FnOnce() -> StoreFuture<'static, ()>) -> String {
        let limit = Duration::from_millis(500);
        with_timeout("claim", limit, call).await.unwrap_err().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn error_of_a_call_names_the_method() {
        let hangs = error(|| Box::pin(pending())).await;
        assert_eq!(hangs, "token store timed out during claim after 500ms");
        let panics = error(|| Box::pin(async { panic!("by script") })).await;
        assert_eq!(panics, "token store panicked during claim");
    }
}
