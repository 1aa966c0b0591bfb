//! [`LockHandle`]: starts the task that claims the lock, extends the claim and releases it.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    select,
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    lock_state::LockState,
    record::{SealedRecord, random},
};
use crate::{
    BoxError,
    shared::{ClaimId, ClaimOutcome, RecordKey, Revision, TokenStore},
};

/// The poll intervals while another process has the lock. The interval doubles from the first to the last.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(25);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The time limit of each call of the store, so that the task ends although the store hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The lock of a refresh token: a claim on a key without a record.
///
/// The lock only avoids logins that fail, because it can be lost. The revision of the record decides which process may
/// send and save the token.
#[derive(Clone)]
pub(super) struct LockHandle {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) key: RecordKey,
    pub(super) time_to_live: Duration,
    /// The task shares it. A clone of the store has its own.
    pub(super) state: Arc<LockState>,
}

/// Ends the task on drop, which then releases the lock.
pub(super) struct Guard {
    state: Arc<LockState>,
    id: ClaimId,
    released: Option<oneshot::Sender<Released>>,
}

struct Released {
    /// Whether the record may name this lock as the user of the token, although the token was not sent.
    is_in_use: bool,
}

impl LockHandle {
    /// Waits until the lock is granted. Dropping the future releases the lock.
    pub(super) async fn acquire(&self, record: SealedRecord) -> Result<Guard, BoxError> {
        let id = ClaimId::from_bytes(random()?);
        let (granted, guard) = oneshot::channel();
        tokio::spawn(self.clone().run(record, id, granted));
        guard.await?
    }

    async fn run(
        self,
        record: SealedRecord,
        id: ClaimId,
        mut granted: oneshot::Sender<Result<Guard, BoxError>>,
    ) {
        let claimed = self.claim(id, &mut granted).await;
        if let Ok(true) = claimed {
            self.state.on_granted(id);
            let (release, released) = oneshot::channel();
            let guard = Guard { state: self.state.clone(), id, released: Some(release) };
            // If the caller has dropped its future, this drops the guard and ends the task.
            let _ = granted.send(Ok(guard));
            let Released { is_in_use } = self.extend_until(id, released).await;
            if is_in_use {
                let _ = with_timeout(record.clear_in_use(id)).await;
            }
        } else if let Err(error) = claimed {
            let _ = granted.send(Err(error));
        }
        // After an error too, because the store may have granted the claim.
        let _ = with_timeout(self.store.release(&self.key, id)).await;
    }

    /// Claims until the claim is granted. Returns `false` if the caller has dropped its future.
    async fn claim<T>(
        &self,
        id: ClaimId,
        granted: &mut oneshot::Sender<T>,
    ) -> Result<bool, BoxError> {
        let mut expected: Option<Revision> = None;
        let mut interval = MIN_POLL_INTERVAL;
        while !granted.is_closed() {
            let claim = self.store.claim(&self.key, expected, id, self.time_to_live);
            let wait = match with_timeout(claim).await? {
                ClaimOutcome::Granted => return Ok(true),
                ClaimOutcome::Denied { expires_in } => {
                    expires_in.clamp(Duration::from_millis(1), interval)
                }
                // The key has no record, unless another program has put one there.
                ClaimOutcome::Changed(record) => {
                    expected = record.map(|record| record.revision);
                    interval
                }
            };
            select! {
                () = sleep(wait) => interval = (2 * interval).min(MAX_POLL_INTERVAL),
                () = granted.closed() => {}
            }
        }
        Ok(false)
    }

    /// Extends the claim until the guard is dropped. If the claim is lost, the revision of the record protects the
    /// token.
    async fn extend_until(
        &self,
        id: ClaimId,
        mut released: oneshot::Receiver<Released>,
    ) -> Released {
        loop {
            select! {
                biased;
                released = &mut released => return released.unwrap_or(Released { is_in_use: false }),
                () = sleep(self.time_to_live / 3) => {}
            }
            let _ = with_timeout(self.store.extend(&self.key, id, self.time_to_live)).await;
        }
    }
}

async fn with_timeout<T>(call: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    timeout(CALL_TIMEOUT, call).await?
}

impl Drop for Guard {
    fn drop(&mut self) {
        let is_in_use = self.state.on_released(self.id);
        if let Some(released) = self.released.take() {
            let _ = released.send(Released { is_in_use });
        }
    }
}
