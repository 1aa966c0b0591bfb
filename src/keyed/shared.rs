//! [`Shared`]: what the handles share, and how a key gets its refresher.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    cache::{Insertion, KeyCache},
    creations::{Creations, Factory},
    entry::KeyEntry,
    error::{KeyError, KeyErrorKind},
};
use crate::{
    clock::Clock,
    panic,
    rate_limit::RateLimit,
    refresh::LoginPermits,
    telemetry::{KeyEvent, Telemetry},
};

/// How often a call creates the refresher of a key that is forgotten during each creation.
const MAX_CREATIONS: usize = 4;

/// The settings that apply to each key's refresher.
#[derive(Debug)]
pub(super) struct KeySettings {
    /// Unless the factory sets it.
    pub(super) pause_when_idle: Duration,
    /// `None`: that of the factory.
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) login_permits: Arc<LoginPermits>,
    pub(super) telemetry: Telemetry,
}

/// What the handles share.
pub(super) struct Shared<K> {
    pub(super) settings: KeySettings,
    pub(super) capacity: usize,
    pub(super) cache: KeyCache<K>,
    /// The cache inserts and removes entries under this lock. No user code runs under it, except the comparison of two
    /// keys.
    creations: Mutex<Creations<K>>,
}

/// What a call has created.
enum Created<K> {
    /// The key has this entry in the cache.
    Cached(Arc<KeyEntry<K>>),
    /// The key was forgotten while this entry was created.
    Outdated(Arc<KeyEntry<K>>),
}

impl<K: Hash + Eq + Clone> Shared<K> {
    pub(super) fn new(
        factory: Factory<K>,
        settings: KeySettings,
        capacity: usize,
        new_keys: Option<RateLimit>,
    ) -> Self {
        let creations = Mutex::new(Creations::new(factory, new_keys));
        Self { settings, capacity, cache: KeyCache::new(capacity), creations }
    }

    /// Returns the entry of a key, and creates it if there is none.
    #[cold]
    pub(super) fn create(&self, key: &K) -> Result<Arc<KeyEntry<K>>, KeyError> {
        let hash = self.cache.hash(key);
        for _ in 1..MAX_CREATIONS {
            match self.create_once(key, hash)? {
                Created::Cached(entry) => return Ok(entry),
                // The key is created again.
                Created::Outdated(entry) => drop_entry(entry),
            }
        }
        match self.create_once(key, hash)? {
            Created::Cached(entry) => Ok(entry),
            // As if the key were forgotten after this call.
            Created::Outdated(entry) => {
                entry.forget();
                Ok(entry)
            }
        }
    }

    fn create_once(&self, key: &K, hash: u64) -> Result<Created<K>, KeyError> {
        let begun = self.creations().begin(hash);
        let (id, factory) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.existing_or(key, error),
        };
        let entry = self.new_entry(key, hash, factory);
        let (insertion, is_shut_down) = {
            let mut creations = self.creations();
            let is_outdated = creations.end(id);
            let is_shut_down = creations.is_shut_down();
            let insertion = match &entry {
                Ok(entry) if !is_outdated && !is_shut_down => {
                    Some(self.cache.insert(entry.clone(), || creations.count_new_key()))
                }
                _ => None,
            };
            (insertion, is_shut_down)
        };
        let entry = entry?;
        match insertion {
            Some(Ok(Insertion::Inserted { evicted })) => {
                self.settings.telemetry.key_event(KeyEvent::Created);
                for evicted in evicted {
                    self.settings.telemetry.key_event(KeyEvent::Evicted);
                    drop_entry(evicted);
                }
                Ok(Created::Cached(entry))
            }
            Some(Ok(Insertion::Exists(existing))) => {
                drop_entry(entry);
                Ok(Created::Cached(existing))
            }
            Some(Err(error)) => {
                drop_entry(entry);
                self.existing_or(key, error)
            }
            None if is_shut_down => {
                drop_entry(entry);
                Err(KeyErrorKind::ShutDown.into())
            }
            None => Ok(Created::Outdated(entry)),
        }
    }

    /// Returns the entry that another call has inserted since the lookup, or else the error.
    fn existing_or(&self, key: &K, error: KeyErrorKind) -> Result<Created<K>, KeyError> {
        if let Some(existing) = self.cache.get(key) {
            return Ok(Created::Cached(existing));
        }
        if matches!(error, KeyErrorKind::TooManyNewKeys) {
            self.settings.telemetry.key_event(KeyEvent::Refused);
        }
        Err(error.into())
    }

    /// Creates a refresher. All of this can be user code, so no lock may be held.
    fn new_entry(
        &self,
        key: &K,
        hash: u64,
        factory: Factory<K>,
    ) -> Result<Arc<KeyEntry<K>>, KeyErrorKind> {
        let KeySettings { pause_when_idle, clock, login_permits, telemetry } = &self.settings;
        let create = move || {
            let refresher = factory(key)
                .map_err(KeyErrorKind::Factory)?
                .for_key(*pause_when_idle, clock.as_ref(), login_permits, telemetry)
                .build()
                .map_err(KeyErrorKind::InvalidSetting)?;
            Ok(Arc::new(KeyEntry::new(key.clone(), hash, refresher)))
        };
        panic::catch(create).unwrap_or(Err(KeyErrorKind::FactoryPanicked))
    }

    /// Removes a key. Returns whether there was an entry for it.
    pub(super) fn forget(&self, key: &K) -> bool {
        let hash = self.cache.hash(key);
        let removed = {
            let mut creations = self.creations();
            creations.outdate(hash);
            self.cache.remove(key, hash)
        };
        let Some(entry) = removed else { return false };
        entry.forget();
        self.settings.telemetry.key_event(KeyEvent::Forgotten);
        drop_entry(entry);
        true
    }

    /// Removes all keys, and ends their refreshers permanently.
    pub(super) fn shut_down(&self) {
        let (factory, entries) = {
            let mut creations = self.creations();
            (creations.shut_down(), self.cache.remove_all())
        };
        for entry in &entries {
            entry.forget();
            self.settings.telemetry.key_event(KeyEvent::Forgotten);
        }
        // What follows drops user code: that of one key must not prevent the shutdown of another.
        panic::catch(|| drop(factory));
        for entry in entries {
            panic::catch(|| entry.refresher.shutdown());
            drop_entry(entry);
        }
    }
}

impl<K> Shared<K> {
    pub(super) fn is_shut_down(&self) -> bool {
        self.creations().is_shut_down()
    }

    /// A comparison of keys that panics leaves the creations valid, and a poisoned lock too.
    fn creations(&self) -> MutexGuard<'_, Creations<K>> {
        self.creations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops an entry. Its key and its login service are user code.
fn drop_entry<K>(entry: Arc<KeyEntry<K>>) {
    panic::catch(|| drop(entry));
}
