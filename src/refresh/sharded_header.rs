//! One header value, with a copy for each shard of the threads.

use std::{array, fmt, sync::OnceLock};

use bytes::Bytes;
use http::HeaderValue;

use crate::shard::{SHARDS, ShardId};

/// Boxed, because most refreshers are idle, and their tokens have no copies.
type Copies = Box<[OnceLock<HeaderValue>; SHARDS]>;

/// A header value with one copy for each shard. Cloning a `HeaderValue` increments a shared count. Each copy has a
/// separate count, on a separate cache line.
///
/// A copy is made at the shard's first use, because most tokens are used by few threads.
pub(crate) struct ShardedHeader {
    original: HeaderValue,
    copies: OnceLock<Copies>,
}

impl ShardedHeader {
    pub(crate) fn new(original: HeaderValue) -> Self {
        Self { original, copies: OnceLock::new() }
    }

    /// Returns the copy of the current thread's shard.
    #[inline]
    pub(crate) fn local(&self) -> (ShardId, &HeaderValue) {
        let shard = ShardId::local();
        let copies = self.copies.get_or_init(|| Box::new(array::from_fn(|_| OnceLock::new())));
        (shard, shard.select(copies).get_or_init(|| copy(&self.original)))
    }
}

#[cold]
fn copy(value: &HeaderValue) -> HeaderValue {
    let bytes = Bytes::from_owner(CacheAligned(value.as_bytes().into()));
    let Ok(mut copy) = HeaderValue::from_maybe_shared(bytes) else { return value.clone() };
    copy.set_sensitive(value.is_sensitive());
    copy
}

/// `Bytes` stores its reference count next to its owner, in one allocation. This alignment keeps other data off the
/// count's cache line, and off the next one, because processors fetch lines in pairs.
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
    fn copies_are_equal_sensitive_and_share_no_bytes() {
        let mut value = HeaderValue::from_static("Bearer abc");
        value.set_sensitive(true);
        let header = ShardedHeader::new(value.clone());
        let address = || {
            let (shard, copy) = header.local();
            assert!(shard.is_local() && copy == value && copy.is_sensitive());
            copy.as_bytes().as_ptr() as usize
        };
        let mut addresses: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..SHARDS * 4)
                .map(|_| {
                    scope.spawn(|| {
                        let first = address();
                        assert_eq!(address(), first, "a thread keeps its copy");
                        first
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        addresses.sort_unstable();
        addresses.dedup();
        // Threads of other tests take their turns too.
        assert!((SHARDS / 2..=SHARDS).contains(&addresses.len()), "{}", addresses.len());
        assert!(!addresses.contains(&(value.as_bytes().as_ptr() as usize)));
    }

    #[test]
    fn unused_header_has_no_copy() {
        let header = ShardedHeader::new(HeaderValue::from_static("abc"));
        assert!(header.copies.get().is_none());
        header.local();
        assert_eq!(
            header.copies.get().unwrap().iter().filter(|copy| copy.get().is_some()).count(),
            1
        );
    }
}
