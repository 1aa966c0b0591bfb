//! [`TokenStore`]: where processes share a token.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::StoreFuture;

/// Stores records of a few kilobytes under keys, and grants one process at a time the right to replace a record.
///
/// A [`SharedTokenLayer`](super::SharedTokenLayer) seals the records, chooses their [`Revision`]s and decides which
/// token is used. A store does not interpret them. It compares revisions and claims for equality, and measures times
/// with its own clock only.
///
/// # Contract
///
/// 1. Each method is atomic: concurrent calls, of this process or another, have the same effect as in some order.
/// 2. A claim is granted to one [`ClaimId`] at a time. The first of three events ends it: its release, a new record, or the
///    end of its time to live. So a process that dies or freezes loses the claim.
/// 3. [`put`](Self::put) replaces a record only for the process whose claim is granted, and only if the record still has
///    the expected revision. So a process that was frozen while another replaced the record cannot overwrite it.
/// 4. A record's [age](Record::age) is measured by one clock, that of the store. A store whose clock has been set back
///    returns zero.
/// 5. A store may lose records and claims at any time. Then there is one login more than necessary.
/// 6. A future can be dropped at any time. The operation then has taken place or not.
/// 7. Every time to live is valid, from zero to [`Duration::MAX`]. A store that cannot represent one uses the nearest that
///    it can. A claim with a time to live of zero may end at once.
///
/// The layer treats an error as an unavailable store: the process logs in by itself. The text of an error must not contain a record.
///
/// `test_util::check_token_store` tests a store against this contract.
pub trait TokenStore: Send + Sync + 'static {
    /// Returns the record, or `None` if there is none.
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>>;

    /// Claims the right to replace the record, in one step, for the login that `claim` names.
    ///
    /// The claim is granted if the record's revision is `expected`, and no other login has a claim. `None` means: no record.
    /// It ends after `time_to_live`. If the revision differs, returns the record and grants nothing. A process that already has the claim is granted
    /// it again, with a new time to live.
    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome>;

    /// Sets the claim's time to live, counted from now. Returns `false` if the claim is not granted any more.
    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool>;

    /// Ends the claim, if it is granted to this process. Does nothing to a claim of another process.
    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()>;

    /// Replaces the record and ends the claim, if the claim is granted and the record's revision is `expected`. Returns
    /// `false` and changes nothing if not.
    ///
    /// If an earlier call has put this same record, and no other has replaced it, the store may return `true` again. A
    /// store that repeats calls after a lost connection should do that.
    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool>;

    /// Completes when the record's revision may differ from `expected`, or the claim may have ended.
    ///
    /// A hint for processes that wait: without it, they [claim](Self::claim) again after short pauses. It may complete
    /// too early or never, which is the default.
    fn changed<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
    ) -> StoreFuture<'a, ()> {
        let _ = (key, expected);
        Box::pin(std::future::pending())
    }
}

impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        (**self).load(key)
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        (**self).claim(key, expected, claim, time_to_live)
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        (**self).extend(key, claim, time_to_live)
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        (**self).release(key, claim)
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        (**self).put(key, expected, claim, record)
    }

    fn changed<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
    ) -> StoreFuture<'a, ()> {
        (**self).changed(key, expected)
    }
}

/// A record key: 32 bytes, the hash of an [identity](super::TokenIdentity).
///
/// It contains no secret. `Display` renders it as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordKey(pub(super) [u8; 32]);

impl RecordKey {
    /// Creates a key from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The revision of a record: 16 bytes. No two records have the same revision.
///
/// A store compares revisions for equality only. The processes that put them know the order of those of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub(super) [u8; 16]);

impl Revision {
    /// Creates a revision from the bytes of a stored one.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, to store them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Names the claim of one login: 16 random bytes. Each new login has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId(pub(super) [u8; 16]);

impl ClaimId {
    /// Creates an id from its bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, to store them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A record that a store returns.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The revision it was put with.
    pub revision: Revision,
    /// The sealed bytes it was put with.
    pub bytes: Bytes,
    /// The time in the store: how long ago it was put, by the store's clock.
    pub age: Duration,
}

impl Record {
    /// Creates a record.
    pub fn new(revision: Revision, bytes: impl Into<Bytes>, age: Duration) -> Self {
        Self { revision, bytes: bytes.into(), age }
    }
}

/// A record to put.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRecord {
    /// Its revision.
    pub revision: Revision,
    /// The sealed bytes.
    pub bytes: Bytes,
    /// After this time, the record is of no use to any process. The store should delete it then.
    pub time_to_live: Option<Duration>,
}

impl NewRecord {
    /// Creates a record without a time to live.
    pub fn new(revision: Revision, bytes: impl Into<Bytes>) -> Self {
        Self { revision, bytes: bytes.into(), time_to_live: None }
    }

    /// Sets the time after which the store should delete the record.
    #[must_use]
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }
}

/// The outcome of [`TokenStore::claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimOutcome {
    /// The process may replace the record, until the claim ends.
    Granted,
    /// Another process has the claim.
    Denied {
        /// When the other claim ends, unless it is extended.
        expires_in: Duration,
    },
    /// The record's revision is not the expected one. Nothing is granted.
    Changed(Option<Record>),
}

/// Does not show the sealed bytes.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("revision", &self.revision)
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

/// Does not show the sealed bytes.
impl fmt::Debug for NewRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("revision", &self.revision)
            .field("time_to_live", &self.time_to_live)
            .finish_non_exhaustive()
    }
}
