//! One header value, once for each shard of the threads, so that threads do not contend for one reference count.

use std::{
    array,
    cell::Cell,
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::HeaderValue;

/// The number of shards. A token's header value is stored as often.
const SHARDS: usize = 8;

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

/// A shard of the threads: those that use the same copy of a header value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardId(usize);

impl ShardId {
    /// A shard without threads.
    pub(crate) const NONE: Self = Self(SHARDS);

    /// Returns whether the current thread belongs to this shard.
    #[inline]
    pub(crate) fn is_local(self) -> bool {
        SHARD.get() == self.0
    }
}

/// A header value with one copy for each shard. To clone a `HeaderValue` is to count a reference; each copy has a count of
/// its own, on a cache line of its own.
pub(crate) struct ShardedHeader([HeaderValue; SHARDS]);

impl ShardedHeader {
    pub(crate) fn new(value: &HeaderValue) -> Self {
        Self(array::from_fn(|_| copy(value).unwrap_or_else(|| value.clone())))
    }

    /// Returns the copy of the current thread's shard.
    #[inline]
    pub(crate) fn local(&self) -> (ShardId, &HeaderValue) {
        let shard = match SHARD.get() {
            UNASSIGNED => assign_shard(),
            shard => shard,
        };
        #[expect(clippy::indexing_slicing, reason = "the remainder is within bounds")]
        (ShardId(shard), &self.0[shard % SHARDS])
    }
}

fn copy(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = Bytes::from_owner(CacheAligned(value.as_bytes().into()));
    let mut copy = HeaderValue::from_maybe_shared(bytes).ok()?;
    copy.set_sensitive(value.is_sensitive());
    Some(copy)
}

/// `Bytes` stores its reference count next to its owner, in one allocation. This alignment keeps other data off the count's
/// cache line, and off the next one, because processors fetch lines in pairs.
#[repr(align(128))]
struct CacheAligned(Box<[u8]>);

impl AsRef<[u8]> for CacheAligned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ShardedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedHeader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn shards_are_equal_sensitive_and_share_no_bytes() {
        let mut value = HeaderValue::from_static("Bearer abc");
        value.set_sensitive(true);
        let header = ShardedHeader::new(&value);
        let mut addresses: Vec<_> = header.0.iter().map(|copy| copy.as_bytes().as_ptr()).collect();
        assert!(header.0.iter().all(|copy| copy == value && copy.is_sensitive()));
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), SHARDS);
    }

    #[test]
    fn threads_keep_their_shard_and_are_spread_evenly() {
        let header = ShardedHeader::new(&HeaderValue::from_static("abc"));
        let address = || std::ptr::from_ref(header.local().1) as usize;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..SHARDS * 4)
                .map(|_| {
                    scope.spawn(move || {
                        let local = address();
                        assert_eq!(address(), local);
                        local
                    })
                })
                .collect();
            let mut addresses: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            assert_eq!(addresses.len(), SHARDS, "threads of other tests take shards too, but none is skipped");
        });
    }
}
