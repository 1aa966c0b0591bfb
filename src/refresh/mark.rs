//! What a call on its way remembers of its token: one number.
//!
//! A response may tell of a rejection long after its request was sent. A counted reference in each call would be what all
//! threads fight over, so a call remembers a number, and only a rejection looks it up.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use http::HeaderValue;

use super::shared::Shared;

/// A token of a refresher: the refresher's number, and its token's generation (what is left of it in 32 bits, never zero,
/// which is enough to tell a token from those that requests on their way may carry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(NonZeroU64);

impl Mark {
    /// A server has rejected this token. Says whether there is a newer one, or will be: not if the last handle is gone.
    pub(crate) fn reject(self, challenge: Option<HeaderValue>) -> bool {
        let shared = registry().entries.get(&self.refresher()).and_then(Weak::upgrade);
        shared.is_some_and(|shared| shared.reject(self, challenge))
    }

    /// Never zero.
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        self.0.get() as u32
    }

    fn refresher(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

/// The refreshers that have a handle. Keeps none of them alive.
struct Registry {
    entries: BTreeMap<u32, Weak<Shared>>,
    last: u32,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { entries: BTreeMap::new(), last: 0 });

/// Nothing panics under this lock, and nobody else's code runs under it.
fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a refresher's number, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The number, in the upper half.
    upper: NonZeroU64,
}

impl Registration {
    pub(crate) fn new(shared: Weak<Shared>) -> Self {
        let mut registry = registry();
        loop {
            // A number comes again only after all the others.
            registry.last = registry.last.wrapping_add(1);
            let number = registry.last;
            if let (Some(upper), Entry::Vacant(entry)) =
                (NonZeroU64::new(u64::from(number) << 32), registry.entries.entry(number))
            {
                entry.insert(shared);
                return Self { upper };
            }
        }
    }

    #[inline]
    pub(crate) fn mark(&self, generation: u64) -> Mark {
        Mark(self.upper | (generation % u64::from(u32::MAX) + 1))
    }
}

impl Registration {
    /// Whether the mark is of this refresher.
    pub(crate) fn made(&self, mark: Mark) -> bool {
        mark.refresher() == self.mark(0).refresher()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        registry().entries.remove(&self.mark(0).refresher());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresher_is_known_while_its_registration_lasts_and_its_tokens_are_told_apart() {
        let one = Registration::new(Weak::new());
        let other = Registration::new(Weak::new());
        assert_ne!(one.mark(1), one.mark(2));
        assert_ne!(one.mark(1), other.mark(1));
        let last = u64::from(u32::MAX) - 1;
        for (generation, told) in [(0, 1), (last, u32::MAX), (last + 1, 1), (u64::MAX, 1)] {
            assert_eq!(one.mark(generation).generation(), told, "they go on beyond what a mark can tell");
            assert_eq!(one.mark(generation).refresher(), one.mark(0).refresher());
        }
        let number = one.mark(7).refresher();
        assert!(registry().entries.contains_key(&number));
        drop(one);
        assert!(!registry().entries.contains_key(&number));
        assert!(!other.mark(1).reject(None), "the last handle is gone");
    }
}
