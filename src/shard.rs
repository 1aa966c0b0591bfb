//! [`ShardId`]: the shard of a thread. Threads of different shards use different copies, so that they do not contend
//! for one reference count.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The number of shards.
pub(crate) const SHARDS: usize = 8;

const UNASSIGNED: usize = usize::MAX;

thread_local! {
    /// Without a destructor, so that it can be read at any time of a thread's life.
    static SHARD: Cell<usize> = const { Cell::new(UNASSIGNED) };
}

/// Assigns the current thread to the next shard.
#[cold]
fn assign_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let shard = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    SHARD.set(shard);
    shard
}

/// A shard of the threads. Each thread belongs to one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardId(usize);

impl ShardId {
    /// Returns the shard of the current thread.
    #[inline]
    pub(crate) fn local() -> Self {
        Self(match SHARD.get() {
            UNASSIGNED => assign_shard(),
            shard => shard,
        })
    }

    /// Returns whether the current thread belongs to this shard.
    #[inline]
    pub(crate) fn is_local(self) -> bool {
        SHARD.get() == self.0
    }

    /// Returns the element of this shard.
    #[inline]
    pub(crate) fn select<T>(self, all: &[T; SHARDS]) -> &T {
        #[expect(clippy::indexing_slicing, reason = "the remainder is within bounds")]
        &all[self.0 % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_keep_their_shard_and_are_spread_evenly() {
        let mut shards: Vec<_> = (0..SHARDS * 4)
            .map(|_| {
                thread::spawn(|| {
                    let shard = ShardId::local();
                    assert!(shard.is_local() && ShardId::local().0 == shard.0);
                    shard.0
                })
            })
            .map(|thread| thread.join().unwrap())
            .collect();
        shards.sort_unstable();
        shards.dedup();
        // Threads of other tests take their turns too.
        assert!(shards.len() > SHARDS / 2, "{}", shards.len());
    }
}
