//! [`TokenStore`]: where processes share a token.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::StoreFuture;

/// Stores records of a few kilobytes under keys, and grants one claim at a time to replace a record.
///
/// A [`SharedTokenLayer`](super::SharedTokenLayer) seals the records, chooses their [`Revision`]s, and decides which
/// token a process uses. A store does not interpret records. It compares revisions and [`ClaimId`]s for equality, and
/// measures times with its own clock.
///
/// One store serves any number of identities, each with its own [`RecordKey`]. `Arc<S>` is a store if `S` is one.
///
/// # Contract
///
/// 1. Each method is atomic. Concurrent calls, also of several processes, have the same effect as in some order.
/// 2. A claim is granted to one [`ClaimId`] at a time. It ends at its release, at a put, or after its time to live.
/// 3. A record is replaced only by the [`ClaimId`] whose claim is granted, and only if its revision is the expected
///    one. So a process that was frozen cannot replace the record of another process.
/// 4. The store's clock measures the [age](Record::age) of a record. If that clock has been set back, the age is zero.
/// 5. A store may lose records and claims at any time. Each loss costs one login.
/// 6. A caller can drop a future at any time. The call then has taken place or not.
/// 7. Every time to live is valid, from zero to [`Duration::MAX`]. A store uses the nearest one that it can represent.
///    A claim with a time to live of zero may end immediately.
/// 8. The text of an error does not contain a record.
///
/// `test_util::check_token_store` tests a store against this contract.
///
/// The stores of this crate limit a record to 1 MiB. A put of a longer one fails.
///
/// # Errors
///
/// The layer handles an error, a panic, and a call that exceeds
/// [`store_timeout`](super::SharedTokenLayer::store_timeout) in the same way. What follows depends on the method:
///
/// - [`claim`](Self::claim): the process releases the claim, which may be granted. Unless the call has timed out, the
///   process loads the record, and can adopt its token. If it cannot, it logs in without the store.
/// - [`load`](Self::load): the process logs in without the store.
/// - [`extend`](Self::extend): the process retries after a third of the claim's time to live. The login continues.
/// - [`put`](Self::put): the process uses its token, which is not shared. It releases the claim.
/// - [`release`](Self::release): the claim ends after its time to live.
pub trait TokenStore: Send + Sync + 'static {
    /// Returns the record, or `None` if there is none.
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>>;

    /// Claims the right to replace the record. Has one of three outcomes:
    ///
    /// - [`Changed`](ClaimOutcome::Changed): the record's revision is not `expected`. Returns the record and grants
    ///   nothing, even if `claim` is granted already. An `expected` of `None` means that there is no record.
    /// - [`Denied`](ClaimOutcome::Denied): the claim of another id is granted.
    /// - [`Granted`](ClaimOutcome::Granted): the claim is granted, and ends after `time_to_live`. If the claim of this
    ///   id is granted already, it gets this time to live.
    ///
    /// The store checks the revision first, then the other claim.
    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome>;

    /// Sets the claim's time to live, counted from now. Returns `false` if the claim of this id is not granted.
    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool>;

    /// Ends the claim of this id, if it is granted. Does not change the claim of another id.
    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()>;

    /// Replaces the record and ends the claim, if the claim of this id is granted and the record's revision is
    /// `expected`. If not, returns `false` and changes nothing.
    ///
    /// If an earlier call has put this same record, and no other call has replaced it, the store may return `true`. A
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
    /// A waiting process then [claims](Self::claim) before its poll interval is over. The method may complete too
    /// early, too late or never. By default, it never completes. No store of this crate implements it, so waiting
    /// processes poll: every 25 to 100 milliseconds, and up to every second while the current token is live.
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

/// The key of a record: 32 bytes, the hash of an [identity](super::TokenIdentity).
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
/// A store compares revisions for equality only. The layer knows the order of the revisions that it chooses.
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

/// Identifies a claim: 16 random bytes. Each login uses a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId(pub(super) [u8; 16]);

impl ClaimId {
    /// Returns another id for the same login.
    pub(super) fn next(self) -> Self {
        Self(u128::from_be_bytes(self.0).wrapping_add(1).to_be_bytes())
    }

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
    /// The time since it was put, by the store's clock.
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
    /// The time after which the store should delete the record. `None`: never.
    ///
    /// For an access token, it is the remaining lifetime and twice the
    /// [`login_timeout`](super::SharedTokenLayer::login_timeout), or `None` if the lifetime is unknown. A refresh token
    /// has `None`.
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
    /// The claim is granted. Its id can replace the record until the claim ends.
    Granted,
    /// The claim of another id is granted.
    Denied {
        /// The time until the other claim ends, unless it is extended.
        expires_in: Duration,
    },
    /// The record's revision is not the expected one. Contains the record. Nothing is granted.
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
