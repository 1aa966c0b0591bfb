//! The rules of claims: when a claim is granted, and when it ends.

use super::{
    process::{Handles, LONG, SHORT, is_record, new_record},
    violation::{
        StoreRule::{
            ClaimComparesRevision, ClaimExpires, ClaimIsExclusive, ClaimIsRenewed,
            ExtendNeedsClaim, PutNeedsClaim, ReleaseNeedsClaim,
        },
        StoreViolation,
    },
};
use crate::shared::ClaimOutcome;

pub(super) async fn claim_is_exclusive(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = ClaimIsExclusive;
    let [a, b] = handles.processes();
    a.require_claim(None).await?;
    for other in [&b, &a.sibling()] {
        match other.claim(None).await? {
            ClaimOutcome::Denied { expires_in } => {
                rule.require(
                    expires_in <= LONG + SHORT,
                    "claim was denied for longer than the time to live of the other one",
                )?;
                // The time to live is far longer than the duration of a check.
                rule.require(expires_in > LONG / 2, "claim was denied for too short a time")?;
            }
            _ => rule.require(false, "claim was granted to two processes")?,
        }
    }
    a.release().await?;
    b.require_claim(None).await?;
    rule.require(a.is_denied(None).await?, "claim was granted to two processes after a release")
}

pub(super) async fn claim_compares_revision(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = ClaimComparesRevision;
    let [a, b] = handles.processes();
    let (record, other) = (new_record(b"record"), new_record(b"other"));
    let expected = Some(other.revision);
    let is_none = b.claim(expected).await? == ClaimOutcome::Changed(None);
    rule.require(is_none, "claim of a record that does not exist did not return `Changed(None)`")?;

    a.require_claim(None).await?;
    a.require_put(None, &record).await?;
    for expected in [None, expected] {
        match b.claim(expected).await? {
            ClaimOutcome::Changed(stored) => rule.require(
                is_record(stored.as_ref(), Some(&record)),
                "claim with another revision returned another record",
            )?,
            _ => rule.require(false, "claim with another revision did not return `Changed`")?,
        }
    }
    let claim = a.claim(Some(record.revision)).await?;
    rule.require(claim == ClaimOutcome::Granted, "claim with another revision was granted")?;
    let claim = b.claim(None).await?;
    let is_changed = matches!(claim, ClaimOutcome::Changed(Some(_)));
    rule.require(is_changed, "claim with another revision was denied and returned no record")
}

pub(super) async fn claim_is_renewed(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = ClaimIsRenewed;
    let [a, b] = handles.processes();
    a.require_claim_for(None, LONG / 4).await?;
    let claim = a.claim_for(None, LONG).await?;
    rule.require(claim == ClaimOutcome::Granted, "claim was denied to the process that has it")?;
    rule.require(
        matches!(b.claim(None).await?, ClaimOutcome::Denied { expires_in } if expires_in > LONG / 2),
        "claim that was renewed did not get the new time to live",
    )?;
    let claim = a.claim_for(None, SHORT).await?;
    rule.require(claim == ClaimOutcome::Granted, "claim was denied to the process that has it")?;
    rule.require(
        b.wait_for_claim(None).await?,
        "claim that was renewed with a shorter time to live did not end",
    )
}

pub(super) async fn claim_expires(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = ClaimExpires;
    let [a, b] = handles.processes();
    a.require_claim_for(None, SHORT).await?;
    rule.require(b.wait_for_claim(None).await?, "claim did not end")?;

    // The first process continues after it was frozen.
    ExtendNeedsClaim.require(!a.extend(LONG).await?, "extend of an expired claim returned true")?;
    ClaimIsExclusive.require(a.is_denied(None).await?, "claim was granted to two processes")?;
    let put = a.put(None, &new_record(b"late")).await?;
    PutNeedsClaim.require(!put, "put of a process whose claim expired returned true")?;
    PutNeedsClaim.require(b.has(None).await?, "put of a process whose claim expired took place")?;
    a.release().await?;
    ReleaseNeedsClaim.require(b.extend(LONG).await?, "expired claim's release ended another claim")
}

pub(super) async fn extend_needs_claim(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = ExtendNeedsClaim;
    let [a, b] = handles.processes();
    rule.require(!a.extend(LONG).await?, "extend without a claim returned true")?;
    b.require_claim_for(None, LONG / 4).await?;
    rule.require(!a.extend(LONG).await?, "extend of another process's claim returned true")?;
    rule.require(
        matches!(a.claim(None).await?, ClaimOutcome::Denied { expires_in } if expires_in <= LONG / 2),
        "extend changed the claim of another process",
    )?;

    rule.require(b.extend(LONG).await?, "extend of the process that has the claim returned false")?;
    rule.require(
        matches!(a.claim(None).await?, ClaimOutcome::Denied { expires_in } if expires_in > LONG / 2),
        "extend did not set the time to live",
    )?;
    rule.require(
        b.extend(SHORT).await?,
        "extend of the process that has the claim returned false",
    )?;
    rule.require(a.wait_for_claim(None).await?, "claim extended by a short time did not end")?;

    a.release().await?;
    rule.require(!a.extend(LONG).await?, "extend after a release returned true")?;
    b.require_claim(None).await
}

pub(super) async fn release_needs_claim(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = ReleaseNeedsClaim;
    let [a, b] = handles.processes();
    a.release().await?;
    b.require_claim(None).await?;
    a.release().await?;
    rule.require(a.is_denied(None).await?, "release ended the claim of another process")?;
    rule.require(b.extend(LONG).await?, "release ended the claim of another process")?;
    b.release().await?;
    let claim = a.claim(None).await?;
    rule.require(claim == ClaimOutcome::Granted, "release did not end the claim")?;
    b.release().await?;
    rule.require(a.extend(LONG).await?, "second release ended the claim of another process")
}
