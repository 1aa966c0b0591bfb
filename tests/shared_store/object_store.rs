//! A store over objects that can only be replaced as a whole, by compare-and-swap: `If-Match` with an `ETag`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tower::BoxError;
use tower_auth_refresh::{
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
    },
    test_util::check_token_store,
};

use super::after;

/// What the object contains. A JSON text in a real store, with times as in its `Date` header.
#[derive(Clone, Default)]
struct Object {
    record: Option<(NewRecord, Instant)>,
    claim: Option<(ClaimId, Instant)>,
}

impl Object {
    fn revision(&self) -> Option<Revision> {
        self.record.as_ref().map(|(record, _)| record.revision)
    }

    fn record(&self, date: Instant) -> Option<Record> {
        let (record, put_at) = self.record.as_ref()?;
        let age = date.saturating_duration_since(*put_at);
        Some(Record::new(record.revision, record.bytes.clone(), age))
    }

    /// Returns who has the claim, and until when.
    fn owner(&self, date: Instant) -> Option<(ClaimId, Instant)> {
        self.claim.filter(|(_, until)| *until > date)
    }

    fn is_claimed_by(&self, claim: ClaimId, date: Instant) -> bool {
        self.owner(date).is_some_and(|(owner, _)| owner == claim)
    }
}

type ETag = u64;

/// Has the operations of an object store, and its clock.
#[derive(Clone, Default)]
struct Bucket(Arc<Mutex<HashMap<RecordKey, (ETag, Object)>>>);

impl Bucket {
    /// `GET`. Returns the `Date` of the response too.
    async fn get(&self, key: &RecordKey) -> (Option<ETag>, Object, Instant) {
        yield_now().await;
        let found = self.0.lock().unwrap().get(key).cloned();
        let (etag, object) =
            found.map_or_else(Default::default, |(etag, object)| (Some(etag), object));
        (etag, object, Instant::now())
    }

    /// `PUT` with `If-Match`, or `If-None-Match: *`. Returns `false` for `412 Precondition Failed`.
    async fn put_if_match(&self, key: &RecordKey, expected: Option<ETag>, object: Object) -> bool {
        yield_now().await;
        let mut objects = self.0.lock().unwrap();
        let etag = objects.get(key).map(|(etag, _)| *etag);
        if etag == expected {
            objects.insert(*key, (etag.unwrap_or(0) + 1, object));
        }
        etag == expected
    }
}

struct ObjectStore(Bucket);

impl ObjectStore {
    /// Changes the object, unless `change` returns an outcome. Repeats that if another process was faster.
    ///
    /// The times are those of the `GET`, before the change. So a claim ends a little early, and a record is a little
    /// older than it is.
    async fn update<T>(
        &self,
        key: &RecordKey,
        done: T,
        change: impl Fn(&mut Object, Instant) -> Result<(), T> + Send,
    ) -> Result<T, BoxError> {
        for pause in 0..64 {
            let (etag, mut object, date) = self.0.get(key).await;
            if let Err(outcome) = change(&mut object, date) {
                return Ok(outcome);
            }
            if self.0.put_if_match(key, etag, object).await {
                return Ok(done);
            }
            sleep(Duration::from_millis(pause)).await;
        }
        Err("object was changed by others 64 times".into())
    }
}

impl TokenStore for ObjectStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            let (_, object, date) = self.0.get(key).await;
            Ok(object.record(date))
        })
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        Box::pin(self.update(key, ClaimOutcome::Granted, move |object, date| {
            if object.revision() != expected {
                return Err(ClaimOutcome::Changed(object.record(date)));
            }
            match object.owner(date) {
                Some((owner, until)) if owner != claim => {
                    Err(ClaimOutcome::Denied { expires_in: until.saturating_duration_since(date) })
                }
                _ => {
                    object.claim = Some((claim, after(date, time_to_live)));
                    Ok(())
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
        Box::pin(self.update(key, true, move |object, date| {
            if !object.is_claimed_by(claim, date) {
                return Err(false);
            }
            object.claim = Some((claim, after(date, time_to_live)));
            Ok(())
        }))
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(self.update(key, (), move |object, date| {
            if !object.is_claimed_by(claim, date) {
                return Err(());
            }
            object.claim = None;
            Ok(())
        }))
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(self.update(key, true, move |object, date| {
            if object.revision() != expected || !object.is_claimed_by(claim, date) {
                return Err(false);
            }
            *object = Object { record: Some((record.clone(), date)), claim: None };
            Ok(())
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn store_of_compare_and_swap_passes() {
    let bucket = Bucket::default();
    check_token_store(|| {
        let bucket = bucket.clone();
        async { Ok(ObjectStore(bucket)) }
    })
    .await
    .unwrap();
}
