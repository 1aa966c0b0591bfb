//! [`ShardedArc`]: a counted pointer whose clones on different threads do not contend for one count.

use std::{
    array, fmt,
    ops::Deref,
    sync::{Arc, OnceLock, Weak},
};

use crate::shard::{SHARDS, ShardId};

/// A counted pointer to a value, with one copy of the value for each shard of the threads.
///
/// A clone counts one reference: to the copy of the current thread's shard. Only the original refers to the copies.
/// Each copy refers to the original, so a chain of clones does not grow.
pub(crate) struct ShardedArc<T>(Arc<Node<T>>);

struct Node<T> {
    shard: ShardId,
    value: T,
    role: Role<T>,
}

enum Role<T> {
    /// Boxed, so that the node of a copy is small.
    Original {
        copies: Box<[OnceLock<Arc<Node<T>>>; SHARDS]>,
    },
    Copy {
        original: Weak<Node<T>>,
    },
}

impl<T> ShardedArc<T> {
    pub(crate) fn new(value: T) -> Self {
        let role = Role::Original { copies: Box::new(array::from_fn(|_| OnceLock::new())) };
        Self(Arc::new(Node { shard: ShardId::local(), value, role }))
    }
}

impl<T: Clone> ShardedArc<T> {
    /// Clones a pointer that belongs to another shard.
    #[cold]
    fn clone_to_local(&self) -> Self {
        match &self.0.role {
            Role::Original { copies } => {
                let shard = ShardId::local();
                match shard.select(copies).get() {
                    // `ShardId::local` has just assigned the thread to this shard.
                    _ if self.0.shard.is_local() => Self(self.0.clone()),
                    Some(copy) => Self(copy.clone()),
                    None => Self(Self::make_copy(&self.0, shard, copies)),
                }
            }
            Role::Copy { original } => match original.upgrade() {
                Some(original) => Self(original).clone(),
                // Without the original, all clones share this copy.
                None => Self(self.0.clone()),
            },
        }
    }

    /// Creates the copy of a shard. The value's clone is user code, so it runs before `get_or_init`.
    #[cold]
    fn make_copy(
        original: &Arc<Node<T>>,
        shard: ShardId,
        copies: &[OnceLock<Arc<Node<T>>>; SHARDS],
    ) -> Arc<Node<T>> {
        let role = Role::Copy { original: Arc::downgrade(original) };
        let copy = Arc::new(Node { shard, value: original.value.clone(), role });
        shard.select(copies).get_or_init(|| copy).clone()
    }
}

impl<T: Clone> Clone for ShardedArc<T> {
    #[inline]
    fn clone(&self) -> Self {
        if self.0.shard.is_local() { Self(self.0.clone()) } else { self.clone_to_local() }
    }
}

impl<T> Deref for ShardedArc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for ShardedArc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn address<T>(pointer: &ShardedArc<T>) -> usize {
        Arc::as_ptr(&pointer.0).addr()
    }

    #[test]
    fn clones_of_one_shard_share_one_copy() {
        let original = ShardedArc::new(Arc::new(7));
        assert_eq!(address(&original.clone()), address(&original));
        for _ in 0..SHARDS * 2 {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let (one, other) = (original.clone(), original.clone());
                    assert_eq!(address(&one), address(&other));
                    assert_eq!(address(&one.clone()), address(&one));
                    assert_eq!(**one, 7);
                });
            });
        }
        assert!(Arc::strong_count(&original) <= SHARDS + 1, "one value for each shard");
    }

    #[test]
    fn clone_of_a_copy_on_another_shard_asks_the_original() {
        let original = ShardedArc::new(7);
        let copies: Vec<_> = (0..SHARDS)
            .map(|_| thread::scope(|scope| scope.spawn(|| original.clone()).join().unwrap()))
            .collect();
        let copy = copies.iter().find(|copy| address(copy) != address(&original)).unwrap();
        assert_eq!(address(&copy.clone()), address(&original), "back on the original's thread");
    }

    #[test]
    fn clones_outlive_the_original_and_nothing_leaks() {
        let value = Arc::new(7);
        let original = ShardedArc::new(value.clone());
        let copy = loop {
            // Some thread belongs to another shard.
            let copy = thread::scope(|scope| scope.spawn(|| original.clone()).join().unwrap());
            if address(&copy) != address(&original) {
                break copy;
            }
        };
        drop(original);
        assert_eq!((**copy, **copy.clone()), (7, 7));
        drop(copy);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
