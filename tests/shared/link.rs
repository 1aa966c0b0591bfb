//! [`Link`]: the connection of one process, which a test can cut or freeze.

use std::time::Duration;

use tokio::{select, sync::watch};
use tower::BoxError;
use tower_auth_refresh::shared::{
    ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
};

/// What a process can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Well,
    /// Each of its calls fails.
    CutOff,
    /// None of its calls takes place, and none returns, until it is well again.
    Frozen,
    /// The same, without an end.
    Dead,
}

/// A store, over a connection.
#[derive(Clone)]
pub(crate) struct Link<S> {
    store: S,
    condition: watch::Receiver<Condition>,
}

impl<S> Link<S> {
    pub(crate) fn new(store: S) -> (watch::Sender<Condition>, Self) {
        let (sender, condition) = watch::channel(Condition::Well);
        (sender, Self { store, condition })
    }

    /// Waits while the process is frozen or dead.
    pub(crate) async fn thaw(&self) -> Condition {
        let mut condition = self.condition.clone();
        let is_running =
            |condition: &Condition| !matches!(condition, Condition::Frozen | Condition::Dead);
        let running = condition.wait_for(is_running).await.map(|condition| *condition);
        match running {
            Ok(condition) => condition,
            Err(_) => std::future::pending().await,
        }
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    pub(crate) async fn call<T>(&self, call: StoreFuture<'_, T>) -> Result<T, BoxError> {
        if self.thaw().await == Condition::CutOff {
            return Err("connection refused".into());
        }
        let mut condition = self.condition.clone();
        let result = select! {
            biased;
            result = call => result,
            _ = condition.wait_for(|condition| *condition == Condition::CutOff) => {
                Err("connection reset".into())
            }
        };
        match self.thaw().await {
            Condition::CutOff => Err("connection reset".into()),
            _ => result,
        }
    }
}

impl<S: TokenStore> TokenStore for Link<S> {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(self.call(self.store.load(key)))
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        Box::pin(self.call(self.store.claim(key, expected, claim, time_to_live)))
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(self.call(self.store.extend(key, claim, time_to_live)))
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(self.call(self.store.release(key, claim)))
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(self.call(self.store.put(key, expected, claim, record)))
    }

    fn changed<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
    ) -> StoreFuture<'a, ()> {
        Box::pin(self.call(self.store.changed(key, expected)))
    }
}
