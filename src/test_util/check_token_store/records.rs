//! The rules of records: their content and their age.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    process::{Handles, LONG, SHORT, TOLERANCE, new_record, now},
    violation::{
        StoreRule::{AgeIsMeasured, AnyTimeToLiveIsValid, KeysAreIndependent, LoadReturnsRecord},
        StoreViolation,
    },
};
use crate::shared::{ClaimOutcome, NewRecord, Record};

pub(super) async fn load_returns_record(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = LoadReturnsRecord;
    let [a, b] = handles.processes();
    rule.require(a.has(None).await?, "load returned a record, but none was put")?;

    // A record of a common size, with every byte value.
    let first = new_record(&(0..=u8::MAX).cycle().take(4096).collect::<Vec<_>>());
    a.require_claim(None).await?;
    rule.require(b.has(None).await?, "load returned a record after a claim, but none was put")?;
    a.require_put(None, &first).await?;
    rule.require(a.has(Some(&first)).await?, "load did not return the record that was put")?;
    rule.require(b.has(Some(&first)).await?, "load of another handle did not return the record")?;

    let second = NewRecord::new(new_record(b"").revision, &b"second"[..]);
    a.require_claim(Some(first.revision)).await?;
    a.require_put(Some(first.revision), &second).await?;
    rule.require(
        b.has(Some(&second)).await?,
        "load did not return the record that replaced another one",
    )?;
    // So that the store can delete it.
    a.require_claim(Some(second.revision)).await?;
    a.require_put(Some(second.revision), &new_record(b"last")).await
}

pub(super) async fn keys_are_independent(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = KeysAreIndependent;
    let [a, _] = handles.processes();
    let [other, _] = handles.processes();
    let record = new_record(b"record");
    rule.require(
        a.claim(None).await? == ClaimOutcome::Granted,
        "claim of a new key was not granted",
    )?;
    rule.require(
        other.claim(None).await? == ClaimOutcome::Granted,
        "claim was denied because of the claim of another key",
    )?;
    a.require_put(None, &record).await?;
    rule.require(other.has(None).await?, "load returned the record of another key")?;
    other.release().await?;
    rule.require(a.has(Some(&record)).await?, "release removed the record of another key")
}

/// Compares the age with measured times, so that the check does not depend on the speed of the machine.
pub(super) async fn age_is_measured(handles: &Handles) -> Result<(), StoreViolation> {
    let [a, b] = handles.processes();
    let record = new_record(b"record");
    a.require_claim(None).await?;
    let before_put = now();
    a.require_put(None, &record).await?;
    let after_put = now();
    let check = |record: Option<Record>, called_at: Instant| {
        let Some(Record { age, .. }) = record else {
            return LoadReturnsRecord.require(false, "load returned no record after a put");
        };
        AgeIsMeasured.require(age <= before_put.elapsed() + TOLERANCE, "age is too large").and(
            AgeIsMeasured.require(
                age + TOLERANCE >= called_at.saturating_duration_since(after_put),
                "age is too small",
            ),
        )
    };

    for wait in [Duration::ZERO, Duration::from_millis(1500)] {
        sleep(wait).await;
        let called_at = now();
        check(a.load().await?, called_at)?;
        let called_at = now();
        let changed = match b.claim(None).await? {
            ClaimOutcome::Changed(record) => record,
            _ => None,
        };
        check(changed, called_at)?;
    }
    Ok(())
}

pub(super) async fn any_time_to_live_is_valid(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = AnyTimeToLiveIsValid;
    for short in [Duration::ZERO, Duration::from_nanos(1), SHORT] {
        let [a, b] = handles.processes();
        a.claim_for(None, short).await?;
        rule.require(b.wait_for_claim(None).await?, "claim with a short time to live did not end")?;
        b.extend(short).await?;
        rule.require(a.wait_for_claim(None).await?, "claim extended by a short time did not end")?;
        // The store may delete the record, or ignore the time to live.
        a.require_put(None, &new_record(b"short-lived").time_to_live(short)).await?;
        b.load().await?;
    }

    let [a, b] = handles.processes();
    let record = new_record(b"long-lived").time_to_live(Duration::MAX);
    for long in [LONG * 24 * 365 * 100, Duration::MAX] {
        a.require_claim_for(None, long).await?;
        rule.require(b.is_denied(None).await?, "claim with a long time to live ended")?;
        rule.require(a.extend(long).await?, "claim was not extended by a long time")?;
        rule.require(b.is_denied(None).await?, "claim extended by a long time ended")?;
    }
    a.require_put(None, &record).await?;
    rule.require(b.has(Some(&record)).await?, "record with a long time to live was deleted")?;
    // So that the store can delete it.
    let expected = Some(record.revision);
    a.require_claim(expected).await?;
    a.require_put(expected, &new_record(b"last")).await
}
