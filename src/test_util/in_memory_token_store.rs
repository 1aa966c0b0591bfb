//! [`InMemoryTokenStore`]: a token store for tests, whose failures a test controls.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::lock;
use crate::{
    BoxError,
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
    },
};

/// Stores records in memory, for tests. A test can make the store slow or unavailable, and can remove its content.
///
/// Its clock is tokio's, which can be paused. Clones share the content: give each simulated process a clone.
///
/// ```
/// use std::time::Duration;
///
/// use tower::ServiceBuilder;
/// use tower_auth_refresh::{
///     AccessToken, AuthRefresher, shared::{SharedTokenLayer, TokenIdentity},
///     test_util::{InMemoryTokenStore, MockLogin},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let (store, logins) = (InMemoryTokenStore::default(), MockLogin::default());
/// let identity = TokenIdentity::new("https://login.example.com", "orders", "client_credentials");
/// let shared = SharedTokenLayer::danger_unsealed(store.clone(), identity);
/// let process = || {
///     let login = logins.service(|nth| async move { Ok(AccessToken::bearer(format!("t{nth}"))?) });
///     AuthRefresher::new(ServiceBuilder::new().layer(shared.clone()).service(login))
/// };
/// assert_eq!(process().token().await?.secret(), "t1");
/// assert_eq!(process().token().await?.secret(), "t1");
///
/// store.flush();
/// assert_eq!(process().token().await?.secret(), "t2");
///
/// // The process logs in without the store.
/// store.set_available(false);
/// assert_eq!(process().token().await?.secret(), "t3");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct InMemoryTokenStore(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    records: HashMap<RecordKey, Stored>,
    claims: HashMap<RecordKey, Granted>,
    delay: Duration,
    is_unavailable: bool,
    calls: usize,
}

#[derive(Clone)]
struct Stored {
    record: NewRecord,
    put_at: Instant,
}

#[derive(Clone)]
struct Granted {
    claim: ClaimId,
    /// `None`: a time that the clock cannot represent.
    until: Option<Instant>,
}

impl InMemoryTokenStore {
    /// Sets the duration of each call, which has its effect at its end. Defaults to zero.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.0).delay = delay;
    }

    /// Sets whether the store is available. If not, each call fails after its duration. Defaults to `true`.
    pub fn set_available(&self, available: bool) {
        lock(&self.0).is_unavailable = !available;
    }

    /// Removes all records and claims.
    pub fn flush(&self) {
        self.evict_records();
        self.lose_claims();
    }

    /// Removes all records.
    pub fn evict_records(&self) {
        lock(&self.0).records.clear();
    }

    /// Removes all claims.
    pub fn lose_claims(&self) {
        lock(&self.0).claims.clear();
    }

    /// Returns another store with a copy of the content.
    pub fn snapshot(&self) -> Self {
        let content = lock(&self.0);
        let (records, claims) = (content.records.clone(), content.claims.clone());
        Self(Arc::new(Mutex::new(Content { records, claims, ..Content::default() })))
    }

    /// Replaces the content by that of a snapshot, as a failover to an outdated replica does.
    pub fn restore(&self, snapshot: &Self) {
        let Content { records, claims, .. } = mem::take(&mut *lock(&snapshot.snapshot().0));
        let mut content = lock(&self.0);
        (content.records, content.claims) = (records, claims);
    }

    /// Returns the number of calls that have started.
    pub fn calls(&self) -> usize {
        lock(&self.0).calls
    }

    async fn call<T>(
        &self,
        operation: impl FnOnce(&mut Content, Instant) -> T,
    ) -> Result<T, BoxError> {
        let delay = {
            let mut content = lock(&self.0);
            content.calls += 1;
            content.delay
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        #[expect(clippy::disallowed_methods, reason = "this store's clock is tokio's")]
        let now = Instant::now();
        let mut content = lock(&self.0);
        if content.is_unavailable {
            return Err("token store unavailable by script".into());
        }
        content.expire(now);
        Ok(operation(&mut content, now))
    }
}

impl Content {
    fn expire(&mut self, now: Instant) {
        self.records.retain(|_, stored| {
            let age = now.saturating_duration_since(stored.put_at);
            stored.record.time_to_live.is_none_or(|time_to_live| age < time_to_live)
        });
        self.claims.retain(|_, granted| granted.until.is_none_or(|until| until > now));
    }

    fn record(&self, key: &RecordKey, now: Instant) -> Option<Record> {
        let Stored { record, put_at } = self.records.get(key)?;
        let age = now.saturating_duration_since(*put_at);
        Some(Record::new(record.revision, record.bytes.clone(), age))
    }

    fn revision(&self, key: &RecordKey) -> Option<Revision> {
        self.records.get(key).map(|stored| stored.record.revision)
    }

    fn is_granted(&self, key: &RecordKey, claim: ClaimId) -> bool {
        self.claims.get(key).is_some_and(|granted| granted.claim == claim)
    }

    fn grant(&mut self, key: &RecordKey, claim: ClaimId, time_to_live: Duration, now: Instant) {
        let until = now.checked_add(time_to_live);
        self.claims.insert(*key, Granted { claim, until });
    }
}

impl TokenStore for InMemoryTokenStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(self.call(move |content, now| content.record(key, now)))
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        Box::pin(self.call(move |content, now| {
            if content.revision(key) != expected {
                return ClaimOutcome::Changed(content.record(key, now));
            }
            match content.claims.get(key) {
                Some(granted) if granted.claim != claim => {
                    let remaining = granted.until.map(|until| until.saturating_duration_since(now));
                    ClaimOutcome::Denied { expires_in: remaining.unwrap_or(Duration::MAX) }
                }
                _ => {
                    content.grant(key, claim, time_to_live, now);
                    ClaimOutcome::Granted
                }
            }
        }))
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(self.call(move |content, now| {
            let is_granted = content.is_granted(key, claim);
            if is_granted {
                content.grant(key, claim, time_to_live, now);
            }
            is_granted
        }))
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(self.call(move |content, _| {
            if content.is_granted(key, claim) {
                content.claims.remove(key);
            }
        }))
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(self.call(move |content, now| {
            let is_allowed = content.is_granted(key, claim) && content.revision(key) == expected;
            if is_allowed {
                content.records.insert(*key, Stored { record, put_at: now });
                content.claims.remove(key);
            }
            is_allowed
        }))
    }
}

impl fmt::Debug for InMemoryTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryTokenStore").finish_non_exhaustive()
    }
}
