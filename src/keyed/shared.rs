//! [`Shared`]: what the handles share, and how a key gets its refresher.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    cache::{Insertion, KeyCache},
    entry::KeyEntry,
    error::{KeyError, KeyErrorKind},
    new_key_limit::NewKeyLimit,
};
use crate::{
    error::BoxError,
    panic,
    refresh::{AuthRefresherBuilder, LoginPermits},
    telemetry::{KeyEvent, Telemetry},
};

/// Creates the builder of a key's refresher.
pub(super) type Factory<K> =
    Box<dyn Fn(&K) -> Result<AuthRefresherBuilder, BoxError> + Send + Sync>;

/// The settings that apply to each key's refresher, unless the factory sets them.
#[derive(Debug)]
pub(super) struct KeySettings {
    pub(super) pause_when_idle: Duration,
    pub(super) login_permits: Arc<LoginPermits>,
    pub(super) telemetry: Telemetry,
}

/// What the handles share.
pub(super) struct Shared<K> {
    factory: Factory<K>,
    pub(super) settings: KeySettings,
    pub(super) capacity: usize,
    pub(super) cache: KeyCache<K>,
    new_keys: Option<NewKeyLimit>,
    /// How many keys have been forgotten. A change shows that an entry under creation may be outdated.
    forgets: AtomicU64,
    is_shut_down: AtomicBool,
}

impl<K: Hash + Eq + Clone> Shared<K> {
    pub(super) fn new(
        factory: Factory<K>,
        settings: KeySettings,
        capacity: usize,
        new_keys: Option<NewKeyLimit>,
    ) -> Self {
        let cache = KeyCache::new(capacity);
        let (forgets, is_shut_down) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { factory, settings, capacity, cache, new_keys, forgets, is_shut_down }
    }

    /// Returns the entry of a key, and creates it if there is none.
    #[cold]
    pub(super) fn create(&self, key: &K) -> Result<Arc<KeyEntry<K>>, KeyError> {
        if self.is_shut_down() {
            return Err(KeyErrorKind::ShutDown.into());
        }
        if self.new_keys.as_ref().is_some_and(|limit| !limit.allows_another()) {
            self.settings.telemetry.key_event(KeyEvent::Refused);
            return Err(KeyErrorKind::TooManyNewKeys.into());
        }
        loop {
            // Before the factory runs, so that a key that is forgotten while it runs is created again.
            let forgets = self.forgets();
            let entry = self.new_entry(key)?;
            match self.cache.insert(entry.clone(), || self.forgets() == forgets) {
                Insertion::Exists(existing) => return Ok(existing),
                Insertion::Outdated => {}
                Insertion::Inserted { evicted } => {
                    self.settings.telemetry.key_event(KeyEvent::Created);
                    for evicted in evicted {
                        self.settings.telemetry.key_event(KeyEvent::Evicted);
                        // The key and the login service are user code.
                        panic::catch(|| drop(evicted));
                    }
                    return self.unless_shut_down(entry);
                }
            }
        }
    }

    /// Creates a refresher. The factory is user code, so no lock may be held.
    fn new_entry(&self, key: &K) -> Result<Arc<KeyEntry<K>>, KeyError> {
        let builder = panic::catch(|| (self.factory)(key)).ok_or(KeyErrorKind::FactoryPanicked)?;
        let KeySettings { pause_when_idle, login_permits, telemetry } = &self.settings;
        let refresher = builder
            .map_err(KeyErrorKind::Factory)?
            .for_key(*pause_when_idle, login_permits, telemetry)
            .build()
            .map_err(KeyErrorKind::InvalidSetting)?;
        Ok(Arc::new(KeyEntry::new(key.clone(), self.cache.hash(key), refresher)))
    }

    /// Returns an entry that was inserted just now. A shutdown either removes it from the cache, or is detected here.
    fn unless_shut_down(&self, entry: Arc<KeyEntry<K>>) -> Result<Arc<KeyEntry<K>>, KeyError> {
        if self.is_shut_down() {
            entry.forget();
            entry.refresher.shutdown();
            self.cache.remove(&entry.key);
            return Err(KeyErrorKind::ShutDown.into());
        }
        Ok(entry)
    }

    /// Removes a key. Returns whether there was an entry for it.
    pub(super) fn forget(&self, key: &K) -> bool {
        // Before the removal, so that no entry from before it is inserted after it.
        self.forgets.fetch_add(1, Ordering::SeqCst);
        let Some(entry) = self.cache.remove(key) else { return false };
        entry.forget();
        entry.refresher.forget();
        self.settings.telemetry.key_event(KeyEvent::Forgotten);
        true
    }

    /// Removes all keys, and ends their refreshers permanently.
    pub(super) fn shut_down(&self) {
        self.is_shut_down.store(true, Ordering::SeqCst);
        self.forgets.fetch_add(1, Ordering::SeqCst);
        for entry in self.cache.remove_all() {
            entry.forget();
            entry.refresher.shutdown();
        }
    }
}

impl<K> Shared<K> {
    fn forgets(&self) -> u64 {
        self.forgets.load(Ordering::SeqCst)
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::SeqCst)
    }
}
