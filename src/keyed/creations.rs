//! [`Creations`]: which keys are under creation, and whether their refreshers can still be inserted.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::error::KeyErrorKind;
use crate::{
    error::BoxError,
    rate_limit::{RateBudget, RateLimit},
    refresh::AuthRefresherBuilder,
};

/// Creates the builder of a key's refresher.
pub(super) type Factory<K> =
    Arc<dyn Fn(&K) -> Result<AuthRefresherBuilder, BoxError> + Send + Sync>;

/// The creations under way. It is behind a lock, under which keys are inserted and removed.
pub(super) struct Creations<K> {
    /// `None`: the handle has been shut down.
    factory: Option<Factory<K>>,
    new_keys: Option<(RateLimit, RateBudget)>,
    last: CreationId,
    under_way: BTreeMap<CreationId, Creation>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CreationId(u64);

/// A call that runs the factory. The hash is that of its key.
#[derive(Debug)]
struct Creation {
    hash: u64,
    is_outdated: bool,
}

impl<K> Creations<K> {
    pub(super) fn new(factory: Factory<K>, new_keys: Option<RateLimit>) -> Self {
        let new_keys = new_keys.map(|limit| (limit, RateBudget::default()));
        Self {
            factory: Some(factory),
            new_keys,
            last: CreationId::default(),
            under_way: BTreeMap::new(),
        }
    }

    /// Begins a creation, before the factory runs. So a key that is forgotten while it runs is detected.
    ///
    /// The limit on new keys is only checked, because the factory can fail.
    pub(super) fn begin(&mut self, hash: u64) -> Result<(CreationId, Factory<K>), KeyErrorKind> {
        let factory = self.factory.clone().ok_or(KeyErrorKind::ShutDown)?;
        if let Some((limit, mut budget)) = self.new_keys
            && !budget.try_consume(limit, now())
        {
            return Err(KeyErrorKind::TooManyNewKeys);
        }
        self.last = CreationId(self.last.0 + 1);
        self.under_way.insert(self.last, Creation { hash, is_outdated: false });
        Ok((self.last, factory))
    }

    /// Ends a creation. Returns whether its refresher is out of date.
    pub(super) fn end(&mut self, id: CreationId) -> bool {
        self.under_way.remove(&id).is_none_or(|creation| creation.is_outdated)
    }

    /// Counts a key that is inserted now against the limit on new keys.
    pub(super) fn count_new_key(&mut self) -> Result<(), KeyErrorKind> {
        if let Some((limit, budget)) = &mut self.new_keys
            && !budget.try_consume(*limit, now())
        {
            return Err(KeyErrorKind::TooManyNewKeys);
        }
        Ok(())
    }

    /// Makes the creations of a key with this hash out of date, because the key is forgotten.
    pub(super) fn outdate(&mut self, hash: u64) {
        for creation in self.under_way.values_mut().filter(|creation| creation.hash == hash) {
            creation.is_outdated = true;
        }
    }

    /// Begins no creation any more. The caller drops the factory without the lock.
    pub(super) fn shut_down(&mut self) -> Option<Factory<K>> {
        self.factory.take()
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.factory.is_none()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the limit belongs to no refresher, whose clock it could use"
)]
fn now() -> Instant {
    Instant::now()
}
