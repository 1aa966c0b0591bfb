//! [`StoreViolation`]: the rule that a store violates.

use std::{error::Error, fmt};

use crate::BoxError;

/// A rule of the contract of a [`TokenStore`](crate::shared::TokenStore).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreRule {
    /// A call completes within 30 seconds, without an error.
    Available,
    /// A claim is granted if no other claim is, and the record's revision is the expected one.
    FreeClaimIsGranted,
    /// The process with the claim can replace the record.
    PutReplacesRecord,
    /// Each process loads the record that was put last, with its revision and its bytes.
    LoadReturnsRecord,
    /// Calls with one key have no effect on the record and the claim of another.
    KeysAreIndependent,
    /// The age of a record is the time since it was put.
    AgeIsMeasured,
    /// A claim whose expected revision is not that of the record returns the record, and grants nothing.
    ClaimComparesRevision,
    /// A claim is granted to one process at a time.
    ClaimIsExclusive,
    /// A claim ends after its time to live.
    ClaimExpires,
    /// A second claim of the same id is granted, and sets the time to live.
    ClaimIsRenewed,
    /// Only the process with the claim can extend it.
    ExtendNeedsClaim,
    /// Only the process with the claim can release it.
    ReleaseNeedsClaim,
    /// Only the process with the claim can replace the record.
    PutNeedsClaim,
    /// A record is replaced only if its revision is the expected one.
    PutComparesRevision,
    /// A put ends the claim.
    PutEndsClaim,
    /// Concurrent calls have the same effect as in some order.
    CallsAreAtomic,
    /// A call whose future was dropped has taken place or not. Later calls are not affected.
    CallsCanBeDropped,
    /// Each time to live is valid, from zero to [`Duration::MAX`](std::time::Duration::MAX).
    AnyTimeToLiveIsValid,
}

impl fmt::Display for StoreRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Available => "a call completes without an error",
            Self::FreeClaimIsGranted => "a free claim is granted",
            Self::PutReplacesRecord => "the process with the claim can replace the record",
            Self::LoadReturnsRecord => "a load returns the record that was put last",
            Self::KeysAreIndependent => "keys are independent",
            Self::AgeIsMeasured => "the age of a record is the time since it was put",
            Self::ClaimComparesRevision => "a claim with another revision returns the record",
            Self::ClaimIsExclusive => "a claim is granted to one process at a time",
            Self::ClaimExpires => "a claim ends after its time to live",
            Self::ClaimIsRenewed => "a second claim of the same id is granted",
            Self::ExtendNeedsClaim => "only the process with the claim can extend it",
            Self::ReleaseNeedsClaim => "only the process with the claim can release it",
            Self::PutNeedsClaim => "only the process with the claim can replace the record",
            Self::PutComparesRevision => "a put with another revision changes nothing",
            Self::PutEndsClaim => "a put ends the claim",
            Self::CallsAreAtomic => "concurrent calls have the same effect as in some order",
            Self::CallsCanBeDropped => "a dropped call does not affect later calls",
            Self::AnyTimeToLiveIsValid => "each time to live is valid",
        })
    }
}

/// The first rule that a store violates, and how. [`check_token_store`](super::check_token_store) returns it.
#[derive(Debug)]
pub struct StoreViolation {
    rule: StoreRule,
    what: &'static str,
    source: Option<BoxError>,
}

impl StoreViolation {
    pub(super) fn new(rule: StoreRule, what: &'static str) -> Self {
        Self { rule, what, source: None }
    }

    pub(super) fn unavailable(what: &'static str, source: BoxError) -> Self {
        Self { rule: StoreRule::Available, what, source: Some(source) }
    }

    /// Returns the rule.
    pub fn rule(&self) -> StoreRule {
        self.rule
    }
}

impl fmt::Display for StoreViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store violates the rule \"{}\": {}", self.rule, self.what)
    }
}

impl Error for StoreViolation {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl StoreRule {
    /// Returns a violation of this rule unless `condition` holds.
    pub(super) fn require(self, condition: bool, what: &'static str) -> Result<(), StoreViolation> {
        if condition { Ok(()) } else { Err(StoreViolation::new(self, what)) }
    }
}
