//! The rules of puts: when a put replaces the record.

use tokio::time::sleep;

use super::{
    process::{Handles, LONG, SHORT, TOLERANCE, new_record},
    violation::{
        StoreRule::{PutComparesRevision, PutEndsClaim, PutNeedsClaim},
        StoreViolation,
    },
};
use crate::shared::ClaimOutcome;

pub(super) async fn put_needs_claim(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = PutNeedsClaim;
    let [a, b] = handles.processes();
    let (record, late) = (new_record(b"record"), new_record(b"late"));
    rule.require(!a.put(None, &late).await?, "put without a claim returned true")?;
    rule.require(a.has(None).await?, "put without a claim took place")?;

    b.require_claim(None).await?;
    rule.require(
        !a.put(None, &late).await?,
        "put during the claim of another process returned true",
    )?;
    rule.require(a.has(None).await?, "put during the claim of another process took place")?;
    let claim = b.put(None, &record).await?;
    rule.require(claim, "put without a claim ended the claim of another process")?;

    let expected = Some(record.revision);
    rule.require(!a.put(expected, &late).await?, "put without a claim returned true")?;
    rule.require(a.has(Some(&record)).await?, "put without a claim replaced a record")?;

    b.require_claim(expected).await?;
    b.release().await?;
    rule.require(!b.put(expected, &late).await?, "put after a release returned true")?;
    rule.require(a.has(Some(&record)).await?, "put after a release replaced a record")?;

    // No other process claims after the end of the claim.
    b.require_claim_for(expected, SHORT).await?;
    sleep(SHORT + TOLERANCE).await;
    rule.require(!b.put(expected, &late).await?, "put after the end of the claim returned true")?;
    rule.require(a.has(Some(&record)).await?, "put after the end of the claim replaced a record")
}

pub(super) async fn put_compares_revision(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = PutComparesRevision;
    let [a, b] = handles.processes();
    let (record, other, late) = (new_record(b"record"), new_record(b"other"), new_record(b"late"));
    a.require_claim(None).await?;
    let put = a.put(Some(other.revision), &late).await?;
    rule.require(!put, "put with a revision returned true, but there was no record")?;
    rule.require(b.has(None).await?, "put with a revision took place, but there was no record")?;
    let put = a.put(None, &record).await?;
    rule.require(put, "put with another revision ended the claim")?;

    a.require_claim(Some(record.revision)).await?;
    for expected in [None, Some(other.revision)] {
        rule.require(!a.put(expected, &late).await?, "put with another revision returned true")?;
        rule.require(b.has(Some(&record)).await?, "put with another revision took place")?;
    }
    let put = a.put(Some(record.revision), &other).await?;
    rule.require(put, "put with another revision ended the claim")?;
    rule.require(b.has(Some(&other)).await?, "put did not replace the record")
}

pub(super) async fn put_ends_claim(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = PutEndsClaim;
    let [a, b] = handles.processes();
    let (record, second) = (new_record(b"record"), new_record(b"second"));
    let expected = Some(record.revision);
    a.require_claim(None).await?;
    a.require_put(None, &record).await?;
    rule.require(!a.extend(LONG).await?, "extend after a put returned true")?;
    rule.require(!a.put(expected, &second).await?, "second put with one claim returned true")?;
    let claim = b.claim(expected).await?;
    rule.require(claim == ClaimOutcome::Granted, "claim was denied after a put")?;
    a.release().await?;
    b.require_put(expected, &second).await?;
    rule.require(a.has(Some(&second)).await?, "put did not replace the record")
}
