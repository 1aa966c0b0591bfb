//! The rules of concurrent and of dropped calls.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    process::{Handles, LONG, Process, is_record, new_record},
    violation::{
        StoreRule::{Available, CallsAreAtomic, CallsCanBeDropped},
        StoreViolation,
    },
};
use crate::shared::{ClaimOutcome, Record};

const ROUNDS: u32 = 16;
const CONTENDERS: usize = 4;
const REPLACEMENTS: u64 = 8;
/// Ends a check that makes no progress.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn calls_are_atomic(handles: &Handles) -> Result<(), StoreViolation> {
    for _ in 0..ROUNDS {
        one_claim_is_granted(handles).await?;
    }
    no_replacement_is_lost(handles).await
}

/// Lets processes claim at the same time.
async fn one_claim_is_granted(handles: &Handles) -> Result<(), StoreViolation> {
    let mut claims = JoinSet::new();
    for process in contenders(handles) {
        claims.spawn(async move { process.claim(None).await });
    }
    let mut granted = 0;
    while let Some(claim) = join(&mut claims).await? {
        granted += u32::from(claim == ClaimOutcome::Granted);
    }
    CallsAreAtomic.require(granted <= 1, "concurrent claims were granted to two processes")?;
    CallsAreAtomic.require(granted == 1, "concurrent claims were denied to all processes")
}

/// Lets processes increment the number in a record at the same time.
async fn no_replacement_is_lost(handles: &Handles) -> Result<(), StoreViolation> {
    let processes = contenders(handles);
    let first = processes.first().cloned();
    let mut replacements = JoinSet::new();
    for process in processes {
        replacements.spawn(increment(process));
    }
    let all = async {
        let mut done = 0;
        while let Some(by_one) = join(&mut replacements).await? {
            done += by_one;
        }
        Ok(done)
    };
    let done = timeout(LIMIT, all).await.unwrap_or_else(|_| {
        Err(StoreViolation::new(CallsAreAtomic, "concurrent processes made no progress"))
    })?;
    let stored = match first {
        Some(process) => process.load().await?,
        None => None,
    };
    let stored = stored.as_ref().map_or(0, number);
    CallsAreAtomic.require(stored == done, "concurrent puts replaced each other's records")
}

/// Replaces the record several times, each time with the next number.
async fn increment(process: Process) -> Result<u64, StoreViolation> {
    let mut stored: Option<Record> = None;
    let mut done = 0;
    while done < REPLACEMENTS {
        let expected = stored.as_ref().map(|record| record.revision);
        match process.claim(expected).await? {
            ClaimOutcome::Granted => {
                let next = stored.as_ref().map_or(0, number).wrapping_add(1);
                let next = new_record(&next.to_be_bytes());
                CallsAreAtomic.require(
                    process.put(expected, &next).await?,
                    "concurrent put of the process with the claim returned false",
                )?;
                done += 1;
                stored = Some(Record::new(next.revision, next.bytes, Duration::ZERO));
            }
            ClaimOutcome::Changed(record) => stored = record,
            ClaimOutcome::Denied { .. } => sleep(Duration::from_millis(1)).await,
        }
    }
    Ok(done)
}

/// Drops calls that have started, and repeats them.
pub(super) async fn calls_can_be_dropped(handles: &Handles) -> Result<(), StoreViolation> {
    let rule = CallsCanBeDropped;
    let [a, b] = handles.processes();
    let (record, second) = (new_record(b"record"), new_record(b"second"));
    let expected = Some(record.revision);

    poll_once(a.claim(None)).await;
    rule.require(a.wait_for_claim(None).await?, "claim was denied after a dropped claim")?;
    poll_once(a.load()).await;
    poll_once(b.store.changed(&b.key, None)).await;
    poll_once(a.extend(LONG)).await;
    rule.require(a.extend(LONG).await?, "claim was lost after a dropped extend")?;
    a.require_put(None, &record).await?;

    a.require_claim(expected).await?;
    poll_once(a.put(expected, &second)).await;
    let stored = b.load().await?;
    rule.require(
        is_record(stored.as_ref(), Some(&record)) || is_record(stored.as_ref(), Some(&second)),
        "load returned another record after a dropped put",
    )?;
    // Returns false if the dropped put has taken place.
    a.put(expected, &second).await?;
    rule.require(b.has(Some(&second)).await?, "put did not take place after a dropped put")?;

    let expected = Some(second.revision);
    b.require_claim(expected).await?;
    poll_once(b.release()).await;
    b.release().await?;
    rule.require(a.wait_for_claim(expected).await?, "claim did not end after a dropped release")
}

/// Polls a call once, and drops it.
async fn poll_once(call: impl Future) {
    let mut call = pin!(call);
    poll_fn(|context| {
        let _ = call.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

fn contenders(handles: &Handles) -> Vec<Process> {
    let [a, b] = handles.processes();
    (0..CONTENDERS).flat_map(|_| [a.sibling(), b.sibling()]).collect()
}

async fn join<T: 'static>(
    tasks: &mut JoinSet<Result<T, StoreViolation>>,
) -> Result<Option<T>, StoreViolation> {
    match tasks.join_next().await {
        Some(Ok(result)) => result.map(Some),
        Some(Err(_)) => Err(StoreViolation::new(Available, "store panicked")),
        None => Ok(None),
    }
}

fn number(record: &Record) -> u64 {
    record.bytes.as_ref().try_into().map_or(0, u64::from_be_bytes)
}
