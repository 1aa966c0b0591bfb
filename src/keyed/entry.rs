//! [`KeyEntry`]: a key with its refresher.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use quick_cache::Equivalent;

use crate::{panic, refresh::AuthRefresher};

/// A key, its hash and its refresher.
pub(crate) struct KeyEntry<K> {
    pub(crate) key: K,
    pub(super) hash: u64,
    pub(crate) refresher: AuthRefresher,
    is_forgotten: AtomicBool,
}

impl<K> KeyEntry<K> {
    pub(super) fn new(key: K, hash: u64, refresher: AuthRefresher) -> Self {
        Self { key, hash, refresher, is_forgotten: AtomicBool::new(false) }
    }

    /// Marks an entry that was removed from the cache although it may be in use. From now on, its refresher logs in only
    /// for a call that still has it.
    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Release);
        self.refresher.retire();
    }

    /// Returns whether a later request for the key must not use this entry.
    #[inline]
    pub(crate) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Acquire)
    }
}

/// An entry as the cache's key. Its clone is not user code.
pub(super) struct CacheKey<K>(pub(super) Arc<KeyEntry<K>>);

/// A key to look up in the cache, under a lock that is only read.
pub(super) struct Lookup<'a, K> {
    pub(super) key: &'a K,
    pub(super) hash: u64,
}

/// A key to remove from the cache.
pub(super) struct Removal<'a, K>(pub(super) Lookup<'a, K>);

/// Compares two keys under a lock that is written. A panic would poison the lock, so it counts as a difference.
fn are_equal<K: Eq>(one: &K, other: &K) -> bool {
    panic::catch(|| one == other).unwrap_or(false)
}

impl<K> Clone for CacheKey<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq> PartialEq for CacheKey<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash && are_equal(&self.0.key, &other.0.key)
    }
}

impl<K: Eq> Eq for CacheKey<K> {}

impl<K: Eq> Equivalent<CacheKey<K>> for Lookup<'_, K> {
    #[inline]
    fn equivalent(&self, other: &CacheKey<K>) -> bool {
        self.hash == other.0.hash && *self.key == other.0.key
    }
}

impl<K: Eq> Equivalent<CacheKey<K>> for Removal<'_, K> {
    fn equivalent(&self, other: &CacheKey<K>) -> bool {
        self.0.hash == other.0.hash && are_equal(self.0.key, &other.0.key)
    }
}

impl<K> Hash for CacheKey<K> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl<K> Hash for Lookup<'_, K> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<K> Hash for Removal<'_, K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Passes on the hash of an entry. The cache hashes keys under its locks, and a key's `Hash` is user code.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHash(u64);

impl BuildHasher for KnownHash {
    type Hasher = Self;

    #[inline]
    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

impl Hasher for KnownHash {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Not called, because both keys write one number.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
