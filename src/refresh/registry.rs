//! [`Registry`]: maps the number of a refresher to the refresher, without keeping it alive.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::token_id::RefresherId;

/// Weak references by number.
///
/// No user code runs under the lock. References are cloned out of the lock before they are upgraded, because the
/// upgraded one may become the last.
#[derive(Debug)]
pub(crate) struct Registry<T>(Mutex<Entries<T>>);

#[derive(Debug)]
struct Entries<T> {
    by_number: BTreeMap<u32, Weak<T>>,
    last_number: u32,
}

impl<T> Registry<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Entries { by_number: BTreeMap::new(), last_number: 0 }))
    }

    /// Registers a reference under a new number. A number is reused only after all others.
    pub(crate) fn register(&self, value: Weak<T>) -> RefresherId {
        let mut entries = self.lock();
        loop {
            entries.last_number = entries.last_number.wrapping_add(1);
            let number = entries.last_number;
            if let (Some(id), Entry::Vacant(entry)) =
                (RefresherId::from_number(number), entries.by_number.entry(number))
            {
                entry.insert(value);
                return id;
            }
        }
    }

    pub(crate) fn unregister(&self, id: RefresherId) {
        let removed = self.lock().by_number.remove(&id.number());
        drop(removed);
    }

    /// Returns the value under this number, if it is still alive.
    pub(crate) fn lookup(&self, number: u32) -> Option<Arc<T>> {
        let found = self.lock().by_number.get(&number).cloned();
        found.and_then(|value| value.upgrade())
    }

    /// Nothing panics under this lock, so a poisoned one is still valid.
    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_found_until_it_is_dropped_or_unregistered() {
        let registry = Registry::new();
        let (one, other) = (Arc::new(1), Arc::new(2));
        let (first, second) =
            (registry.register(Arc::downgrade(&one)), registry.register(Arc::downgrade(&other)));
        assert_ne!(first.number(), second.number());
        assert_eq!(registry.lookup(first.number()).as_deref(), Some(&1));
        drop(one);
        assert!(registry.lookup(first.number()).is_none());
        registry.unregister(second);
        assert!(registry.lookup(second.number()).is_none());
    }
}
