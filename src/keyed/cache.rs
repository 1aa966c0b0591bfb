//! [`KeyCache`]: the entries, bounded.

use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter, sync::Cache};

use super::entry::{CacheKey, KeyEntry, KnownHash, Lookup, Removal};

/// The cache has at least 32 keys for each shard. With four times as many, the shards fill more evenly.
const SHARD_FACTOR: usize = 4;

/// The entries of the keys that were used last.
///
/// An entry that is in use is pinned: it is not evicted, even if the cache exceeds its capacity for that. No user code
/// runs under the cache's locks, except the comparison of two keys. The callers drop what leaves the cache.
///
/// Lookups can happen at any time. Insertions and removals exclude each other: the caller has a lock. So a key that
/// [`insert`](Self::insert) does not find is not inserted or removed by another thread in the meantime.
pub(super) struct KeyCache<K> {
    entries: Cache<CacheKey<K>, Arc<KeyEntry<K>>, UnitWeighter, KnownHash, PinInUse>,
    /// Seeded at random. Attackers may choose the keys, but collisions cost at most a comparison of numbers for each key
    /// of a bounded shard.
    hasher: DefaultHashBuilder,
}

/// The result of an insertion.
pub(super) enum Insertion<K> {
    /// The entry is in the cache. The evicted entries start no login any more.
    Inserted { evicted: Vec<Arc<KeyEntry<K>>> },
    /// The cache has this entry for the key.
    Exists(Arc<KeyEntry<K>>),
}

impl<K: Hash + Eq> KeyCache<K> {
    pub(super) fn new(capacity: usize) -> Self {
        let expected = capacity.div_ceil(SHARD_FACTOR);
        let entries =
            Cache::with(expected, capacity as u64, UnitWeighter, KnownHash::default(), PinInUse);
        // Each shard has an equal part of the capacity. Rounded up, these parts would exceed it.
        entries.set_capacity((capacity - capacity % entries.num_shards()) as u64);
        Self { entries, hasher: DefaultHashBuilder::default() }
    }

    /// Computes the hash of a key. This is user code.
    #[inline]
    pub(super) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Returns the entry of a key. A panic of a comparison reaches the caller.
    #[inline]
    pub(super) fn get(&self, key: &K) -> Option<Arc<KeyEntry<K>>> {
        self.entries.get(&Lookup { key, hash: self.hash(key) })
    }

    /// Returns the entry of a key. This does not count as a use of it.
    pub(super) fn peek(&self, key: &K) -> Option<Arc<KeyEntry<K>>> {
        self.entries.peek(&Lookup { key, hash: self.hash(key) })
    }

    /// Inserts an entry, unless its key has one, or `admit` denies it.
    ///
    /// A worker can start a scheduled login after the cache has found its entry unused. The entry then returns to the
    /// cache, because a drop would abort the login.
    pub(super) fn insert<E>(
        &self,
        entry: Arc<KeyEntry<K>>,
        admit: impl FnOnce() -> Result<(), E>,
    ) -> Result<Insertion<K>, E> {
        if let Some(existing) = self.entries.peek(&Lookup { key: &entry.key, hash: entry.hash }) {
            return Ok(Insertion::Exists(existing));
        }
        admit()?;
        let (mut unused, mut evicted) = (Vec::new(), Vec::new());
        self.entries.insert_with_lifecycle(CacheKey(entry.clone()), entry, &mut unused);
        while let Some(entry) = unused.pop() {
            if entry.refresher.retire_unless_in_use() {
                evicted.push(entry);
            } else {
                self.entries.insert_with_lifecycle(CacheKey(entry.clone()), entry, &mut unused);
            }
        }
        Ok(Insertion::Inserted { evicted })
    }

    pub(super) fn remove(&self, key: &K, hash: u64) -> Option<Arc<KeyEntry<K>>> {
        self.entries.remove(&Removal(Lookup { key, hash })).map(|(_, entry)| entry)
    }

    /// Removes all entries, and returns them.
    pub(super) fn remove_all(&self) -> Vec<Arc<KeyEntry<K>>> {
        self.entries.drain().map(|(_, entry)| entry).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Pins the entries that are in use. Evicted entries are collected under a lock of the cache, and dropped after it.
#[derive(Clone, Debug)]
struct PinInUse;

impl<K> Lifecycle<CacheKey<K>, Arc<KeyEntry<K>>> for PinInUse {
    type RequestState = Vec<Arc<KeyEntry<K>>>;

    /// Only the cache can create another reference to an entry that it alone has, and its lock is taken here. A worker
    /// can still start a login after this.
    fn is_pinned(&self, _: &CacheKey<K>, entry: &Arc<KeyEntry<K>>) -> bool {
        // The cache has two references, as key and as value.
        Arc::strong_count(entry) > 2 || entry.refresher.is_in_use()
    }

    fn on_evict(&self, evicted: &mut Self::RequestState, _: CacheKey<K>, entry: Arc<KeyEntry<K>>) {
        evicted.push(entry);
    }
}
