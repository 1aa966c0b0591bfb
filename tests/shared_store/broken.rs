//! A store in memory, and one for each rule that it breaks.

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
    test_util::{StoreRule, check_token_store},
};

use super::after;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    AgeIsHuge,
    AgeIsInAnotherUnit,
    AgeIsZero,
    CallsFail,
    CallsHang,
    ClaimIgnoresRevision,
    ClaimIsDeniedToItsOwner,
    ClaimIsGrantedTwice,
    ClaimIsNotAtomic,
    ClaimKeepsFirstTimeToLive,
    ClaimLastsAnHour,
    ClaimOfChangedRecordIsDenied,
    ExtendIgnoresTimeToLive,
    ExtendOfAnyClaim,
    HandlesShareNothing,
    KeysAreIgnored,
    LoadReturnsFirstRecord,
    LongTimeToLiveIsZero,
    PutIgnoresRevision,
    PutIsNotAtomic,
    PutKeepsClaim,
    PutTruncatesBytes,
    PutWithoutClaim,
    PutWithoutOtherClaim,
    PutWithEndedClaim,
    ReleaseOfAnyClaim,
    RevisionIsNotStored,
    ZeroTimeToLiveFails,
}

#[derive(Default)]
struct Entry {
    record: Option<(Revision, Bytes, Instant)>,
    claim: Option<(ClaimId, Instant)>,
}

impl Entry {
    fn revision(&self) -> Option<Revision> {
        self.record.as_ref().map(|(revision, ..)| *revision)
    }

    fn owner(&self, now: Instant) -> Option<(ClaimId, Duration)> {
        let (owner, until) = self.claim?;
        (until > now).then(|| (owner, until - now))
    }

    fn owns(&self, claim: ClaimId) -> bool {
        self.owner(Instant::now()).is_some_and(|(owner, _)| owner == claim)
    }
}

type Entries = Arc<Mutex<HashMap<RecordKey, Entry>>>;

struct MemoryStore {
    entries: Entries,
    fault: Fault,
}

impl MemoryStore {
    fn with<T>(&self, key: &RecordKey, call: impl FnOnce(&mut Entry) -> T) -> T {
        let key =
            if self.fault == Fault::KeysAreIgnored { RecordKey::from_bytes([0; 32]) } else { *key };
        call(self.entries.lock().unwrap().entry(key).or_default())
    }

    fn record(&self, entry: &Entry) -> Option<Record> {
        let (revision, bytes, put_at) = entry.record.clone()?;
        let age = match self.fault {
            Fault::AgeIsHuge => Duration::from_millis(u64::MAX),
            Fault::AgeIsInAnotherUnit => put_at.elapsed() / 1000,
            Fault::AgeIsZero => Duration::ZERO,
            _ => put_at.elapsed(),
        };
        Some(Record::new(revision, bytes, age))
    }

    fn until(&self, time_to_live: Duration) -> Instant {
        if self.fault == Fault::LongTimeToLiveIsZero && time_to_live == Duration::MAX {
            return Instant::now();
        }
        let lasts_an_hour = self.fault == Fault::ClaimLastsAnHour;
        let hour = Duration::from_secs(3600);
        after(Instant::now(), if lasts_an_hour { hour } else { time_to_live })
    }

    fn try_claim(&self, entry: &Entry, expected: Option<Revision>, claim: ClaimId) -> ClaimOutcome {
        let owner = entry.owner(Instant::now());
        let denied = match owner {
            Some((owner, _)) if owner == claim && self.fault != Fault::ClaimIsDeniedToItsOwner => {
                None
            }
            Some((_, left)) if self.fault != Fault::ClaimIsGrantedTwice => Some(left),
            _ => None,
        };
        let changed = entry.revision() != expected && self.fault != Fault::ClaimIgnoresRevision;
        match denied {
            Some(expires_in) if !changed || self.fault == Fault::ClaimOfChangedRecordIsDenied => {
                ClaimOutcome::Denied { expires_in }
            }
            _ if changed => ClaimOutcome::Changed(self.record(entry)),
            _ => ClaimOutcome::Granted,
        }
    }

    fn can_put(&self, entry: &Entry, expected: Option<Revision>, claim: ClaimId) -> bool {
        let may = match self.fault {
            Fault::PutWithoutClaim => true,
            Fault::PutWithoutOtherClaim => {
                entry.owner(Instant::now()).is_none() || entry.owns(claim)
            }
            Fault::PutWithEndedClaim => {
                entry.owns(claim) || entry.claim.is_some_and(|(owner, _)| owner == claim)
            }
            _ => entry.owns(claim),
        };
        may && (self.fault == Fault::PutIgnoresRevision || entry.revision() == expected)
    }
}

impl TokenStore for MemoryStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            match self.fault {
                Fault::CallsFail => return Err("store unavailable".into()),
                Fault::CallsHang => std::future::pending().await,
                _ => yield_now().await,
            }
            Ok(self.with(key, |entry| self.record(entry)))
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
            if self.fault == Fault::ZeroTimeToLiveFails && time_to_live.as_millis() == 0 {
                return Err("invalid expire time".into());
            }
            yield_now().await;
            if self.fault == Fault::ClaimIsNotAtomic {
                let outcome = self.with(key, |entry| self.try_claim(entry, expected, claim));
                yield_now().await;
                if outcome == ClaimOutcome::Granted {
                    self.with(key, |entry| entry.claim = Some((claim, self.until(time_to_live))));
                }
                return Ok(outcome);
            }
            Ok(self.with(key, |entry| {
                let outcome = self.try_claim(entry, expected, claim);
                let keep = self.fault == Fault::ClaimKeepsFirstTimeToLive && entry.owns(claim);
                if outcome == ClaimOutcome::Granted && !keep {
                    entry.claim = Some((claim, self.until(time_to_live)));
                }
                outcome
            }))
        })
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            yield_now().await;
            Ok(self.with(key, |entry| {
                if !entry.owns(claim) && self.fault != Fault::ExtendOfAnyClaim {
                    return false;
                }
                if self.fault != Fault::ExtendIgnoresTimeToLive {
                    entry.claim = Some((claim, self.until(time_to_live)));
                }
                true
            }))
        })
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            yield_now().await;
            self.with(key, |entry| {
                if entry.owns(claim) || self.fault == Fault::ReleaseOfAnyClaim {
                    entry.claim = None;
                }
            });
            Ok(())
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        mut record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            if self.fault == Fault::PutIsNotAtomic {
                if !self.with(key, |entry| self.can_put(entry, expected, claim)) {
                    return Ok(false);
                }
                self.with(key, |entry| entry.claim = None);
                yield_now().await;
                self.with(key, |entry| {
                    entry.record = Some((record.revision, record.bytes, Instant::now()));
                });
                return Ok(true);
            }
            yield_now().await;
            Ok(self.with(key, |entry| {
                if !self.can_put(entry, expected, claim) {
                    return false;
                }
                match self.fault {
                    Fault::LoadReturnsFirstRecord if entry.record.is_some() => return true,
                    Fault::PutTruncatesBytes => {
                        // As a string that ends at its first zero.
                        let end = record.bytes.iter().position(|byte| *byte == 0);
                        record.bytes.truncate(end.unwrap_or(record.bytes.len()));
                    }
                    Fault::RevisionIsNotStored => record.revision = Revision::from_bytes([0; 16]),
                    _ => {}
                }
                entry.record = Some((record.revision, record.bytes, Instant::now()));
                if self.fault != Fault::PutKeepsClaim {
                    entry.claim = None;
                }
                true
            }))
        })
    }
}

async fn violated_rule(fault: Fault) -> Option<StoreRule> {
    let shared = Entries::default();
    let open = || {
        let entries =
            if fault == Fault::HandlesShareNothing { Entries::default() } else { shared.clone() };
        async move { Ok(MemoryStore { entries, fault }) }
    };
    check_token_store(open).await.err().map(|violation| violation.rule())
}

#[tokio::test(start_paused = true)]
async fn store_in_memory_passes() {
    assert_eq!(violated_rule(Fault::None).await, None);
}

#[tokio::test(start_paused = true)]
async fn each_fault_is_detected() {
    for (fault, rule) in [
        (Fault::AgeIsHuge, StoreRule::AgeIsMeasured),
        (Fault::AgeIsInAnotherUnit, StoreRule::AgeIsMeasured),
        (Fault::AgeIsZero, StoreRule::AgeIsMeasured),
        (Fault::CallsFail, StoreRule::Available),
        (Fault::CallsHang, StoreRule::Available),
        (Fault::ClaimIgnoresRevision, StoreRule::ClaimComparesRevision),
        (Fault::ClaimIsDeniedToItsOwner, StoreRule::ClaimIsRenewed),
        (Fault::ClaimIsGrantedTwice, StoreRule::ClaimIsExclusive),
        (Fault::ClaimIsNotAtomic, StoreRule::CallsAreAtomic),
        (Fault::ClaimKeepsFirstTimeToLive, StoreRule::ClaimIsRenewed),
        (Fault::ClaimLastsAnHour, StoreRule::ClaimExpires),
        (Fault::ClaimOfChangedRecordIsDenied, StoreRule::ClaimComparesRevision),
        (Fault::ExtendIgnoresTimeToLive, StoreRule::ExtendNeedsClaim),
        (Fault::ExtendOfAnyClaim, StoreRule::ExtendNeedsClaim),
        (Fault::HandlesShareNothing, StoreRule::LoadReturnsRecord),
        (Fault::KeysAreIgnored, StoreRule::KeysAreIndependent),
        (Fault::LoadReturnsFirstRecord, StoreRule::LoadReturnsRecord),
        (Fault::LongTimeToLiveIsZero, StoreRule::AnyTimeToLiveIsValid),
        (Fault::PutIgnoresRevision, StoreRule::PutComparesRevision),
        (Fault::PutIsNotAtomic, StoreRule::CallsCanBeDropped),
        (Fault::PutKeepsClaim, StoreRule::PutEndsClaim),
        (Fault::PutTruncatesBytes, StoreRule::LoadReturnsRecord),
        (Fault::PutWithoutClaim, StoreRule::PutNeedsClaim),
        (Fault::PutWithoutOtherClaim, StoreRule::PutNeedsClaim),
        (Fault::PutWithEndedClaim, StoreRule::PutNeedsClaim),
        (Fault::ReleaseOfAnyClaim, StoreRule::ReleaseNeedsClaim),
        (Fault::RevisionIsNotStored, StoreRule::LoadReturnsRecord),
        (Fault::ZeroTimeToLiveFails, StoreRule::Available),
    ] {
        assert_eq!(violated_rule(fault).await, Some(rule), "{fault:?}");
    }
}
