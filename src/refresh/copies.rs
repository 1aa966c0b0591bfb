//! Copies of one header value, so that threads do not fight over one count.

use std::{
    array,
    cell::Cell,
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::HeaderValue;

/// How many groups the threads are in. A token is held as often.
const GROUPS: usize = 8;

const NONE_YET: usize = usize::MAX;

thread_local! {
    /// Without a destructor, so that it can be read at any time of a thread's life.
    static GROUP: Cell<usize> = const { Cell::new(NONE_YET) };
}

/// Threads join the groups in turns.
#[cold]
fn join() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let group = NEXT.fetch_add(1, Ordering::Relaxed) % GROUPS;
    GROUP.set(group);
    group
}

/// One header value, once for each group of threads. Cloning a `HeaderValue` counts a reference; each of these has a count
/// of its own, on a cache line of its own.
pub(crate) struct Copies([HeaderValue; GROUPS]);

impl Copies {
    pub(crate) fn of(value: &HeaderValue) -> Self {
        Self(array::from_fn(|_| copy(value).unwrap_or_else(|| value.clone())))
    }

    /// The copy for this thread, and whose it is.
    #[inline]
    pub(crate) fn mine(&self) -> (Group, &HeaderValue) {
        let group = match GROUP.get() {
            NONE_YET => join(),
            group => group,
        };
        #[expect(clippy::indexing_slicing, reason = "the remainder is within")]
        (Group(group), &self.0[group % GROUPS])
    }
}

/// Some of the threads, who use one copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(usize);

impl Group {
    /// Whether this thread is one of them.
    #[inline]
    pub(crate) fn is_mine(self) -> bool {
        GROUP.get() == self.0
    }
}

fn copy(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = Bytes::from_owner(Padded(value.as_bytes().into()));
    let mut copy = HeaderValue::from_maybe_shared(bytes).ok()?;
    copy.set_sensitive(value.is_sensitive());
    Some(copy)
}

/// `Bytes` lays its count before its owner, in one allocation. Aligned like this, nothing else is near: two lines, since
/// processors fetch them in pairs.
#[repr(align(128))]
struct Padded(Box<[u8]>);

impl AsRef<[u8]> for Padded {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn each_copy_is_the_value_and_sensitive_and_shares_nothing() {
        let mut value = HeaderValue::from_static("Bearer abc");
        value.set_sensitive(true);
        let copies = Copies::of(&value);
        let mut places: Vec<_> = copies.0.iter().map(|copy| copy.as_bytes().as_ptr()).collect();
        assert!(copies.0.iter().all(|copy| copy == value && copy.is_sensitive()));
        places.sort();
        places.dedup();
        assert_eq!(places.len(), GROUPS);
    }

    #[test]
    fn a_thread_stays_with_its_copy_and_threads_are_spread() {
        let copies = Copies::of(&HeaderValue::from_static("abc"));
        let place = || std::ptr::from_ref(copies.mine().1) as usize;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..GROUPS * 4)
                .map(|_| {
                    scope.spawn(move || {
                        let mine = place();
                        assert_eq!(place(), mine);
                        mine
                    })
                })
                .collect();
            let mut places: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), GROUPS, "none is left out, though other tests' threads join meanwhile");
        });
    }
}
