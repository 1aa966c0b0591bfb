//! [`SealedRecord`]: the record of a refresh token, loaded, and replaced by compare-and-set.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::content::Content;
use crate::{
    BoxError,
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, SealingKeys, TokenStore,
    },
};

/// How long a process that dies while it replaces the record can delay the next one.
const CLAIM_TIME_TO_LIVE: Duration = Duration::from_secs(5);
/// The poll interval while another process replaces the record.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often `overwrite` retries because another process has replaced the record.
const MAX_REPLACED: usize = 16;

pub(super) const REPLACED: &str = "refresh token replaced by another process";

/// Another process has replaced the record. Contains the new revision, if it is known.
struct Changed(Option<Revision>);

#[derive(Clone)]
pub(super) struct SealedRecord {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) key: RecordKey,
    /// `None`: the record is plaintext.
    pub(super) keys: Option<SealingKeys>,
}

impl SealedRecord {
    pub(super) async fn load(&self) -> Result<Option<(Revision, Content)>, BoxError> {
        let Some(Record { revision, bytes, .. }) = self.store.load(&self.key).await? else {
            return Ok(None);
        };
        let plain = match &self.keys {
            Some(keys) => keys.open(&self.key, &revision, &bytes)?,
            None => Zeroizing::new(bytes.to_vec()),
        };
        let content = Content::decode(&plain).ok_or("record contains no refresh token")?;
        Ok(Some((revision, content)))
    }

    /// Replaces the record, if its revision is `expected`. Returns the new revision. Fails if another process has
    /// replaced the record.
    pub(super) async fn replace(
        &self,
        expected: Option<Revision>,
        content: &Content,
    ) -> Result<Revision, BoxError> {
        self.try_replace(expected, content).await?.map_err(|_| REPLACED.into())
    }

    /// Notes in the record that the token is not in use, if the record names this lock as its user.
    pub(super) async fn clear_in_use(&self, id: ClaimId) -> Result<(), BoxError> {
        if let Some((revision, Content { token, in_use_by })) = self.load().await?
            && in_use_by == Some(id)
        {
            self.replace(Some(revision), &Content { token, in_use_by: None }).await?;
        }
        Ok(())
    }

    /// Replaces any record, even one that this process cannot open.
    pub(super) async fn overwrite(&self, content: &Content) -> Result<(), BoxError> {
        let mut expected = None;
        for _ in 0..MAX_REPLACED {
            match self.try_replace(expected, content).await? {
                Ok(_) => return Ok(()),
                Err(Changed(revision)) => expected = revision,
            }
        }
        Err(REPLACED.into())
    }

    async fn try_replace(
        &self,
        expected: Option<Revision>,
        content: &Content,
    ) -> Result<Result<Revision, Changed>, BoxError> {
        let id = ClaimId::from_bytes(random()?);
        loop {
            match self.store.claim(&self.key, expected, id, CLAIM_TIME_TO_LIVE).await? {
                ClaimOutcome::Granted => break,
                ClaimOutcome::Denied { .. } => sleep(POLL_INTERVAL).await,
                ClaimOutcome::Changed(record) => {
                    return Ok(Err(Changed(record.map(|record| record.revision))));
                }
            }
        }
        let revision = Revision::from_bytes(random()?);
        let record = NewRecord::new(revision, self.seal(&revision, content)?);
        match self.store.put(&self.key, expected, id, record).await {
            Ok(true) => Ok(Ok(revision)),
            Ok(false) => Ok(Err(Changed(expected))),
            Err(error) => {
                // The next put need not wait for the end of this claim.
                let _ = self.store.release(&self.key, id).await;
                Err(error)
            }
        }
    }

    fn seal(&self, revision: &Revision, content: &Content) -> Result<Bytes, BoxError> {
        let plain = content.encode()?;
        Ok(match &self.keys {
            Some(keys) => keys.seal(&self.key, revision, &plain)?,
            None => Bytes::copy_from_slice(&plain),
        })
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], BoxError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "random numbers unavailable")?;
    Ok(bytes)
}
