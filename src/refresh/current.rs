//! The cell: the token in use, or none. It holds tokens only; a failure never displaces one.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU32, Ordering},
};

use arc_swap::{ArcSwapOption, Guard};

use super::{
    lease::Lease,
    mark::{Mark, Registration},
    shared::Shared,
};

/// Read by every request, without a lock. Written under the shelf's lock only, so that writers cannot cross.
///
/// On cache lines of its own: what lies beside it is written to, be it the count of the handles.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Current {
    cell: ArcSwapOption<Lease>,
    /// The generation of what is in the cell as marks have it, or zero: whoever holds on to a token sees by one look whether
    /// it is in use still.
    ///
    /// Always changed before the cell: once the new token, or that there is none, has been seen there, nobody holds on to the
    /// old one.
    generation: AtomicU32,
    registration: Registration,
}

impl Current {
    pub(crate) fn new(shared: Weak<Shared>) -> Self {
        let registration = Registration::new(shared);
        Self { cell: ArcSwapOption::empty(), generation: AtomicU32::new(0), registration }
    }

    /// The token in use. Do not keep the guard across an await: there are few of them, and others pay for it.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Option<Arc<Lease>>> {
        self.cell.load()
    }

    /// Whether the token of this mark, which is of this refresher, is in use still.
    #[inline]
    pub(crate) fn is(&self, mark: Mark) -> bool {
        debug_assert!(self.registration.made(mark));
        self.generation.load(Ordering::Acquire) == mark.generation()
    }

    #[inline]
    pub(crate) fn mark_of(&self, generation: u64) -> Mark {
        self.registration.mark(generation)
    }

    pub(crate) fn store(&self, lease: Arc<Lease>) {
        let mark = self.mark_of(lease.generation);
        self.generation.store(mark.generation(), Ordering::Release);
        self.cell.store(Some(lease));
    }

    pub(crate) fn take(&self) -> Option<Arc<Lease>> {
        self.generation.store(0, Ordering::Release);
        self.cell.swap(None)
    }

    /// Takes the token away if it is of this generation or older.
    pub(crate) fn clear_up_to(&self, generation: u64) {
        if self.load().as_ref().is_some_and(|lease| lease.generation <= generation) {
            self.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        thread,
        time::SystemTime,
    };

    use tokio::time::Instant;

    use super::{
        super::{lease::Moment, schedule::tests::schedule},
        *,
    };
    use crate::AccessToken;

    fn lease(generation: u64) -> Arc<Lease> {
        let sent = Moment { wall: SystemTime::UNIX_EPOCH, monotonic: Instant::now() };
        let token = AccessToken::bearer("abc").unwrap();
        Arc::new(Lease::new(token, generation, sent, &schedule(), 0.0))
    }

    /// What a stress test can see in one run: a mark that changed after the cell was seen at once, hundreds of times.
    #[test]
    fn whoever_has_seen_the_cell_change_holds_on_to_no_token_from_before() {
        const TOKENS: u64 = 4_000;
        let (current, told) = (Current::new(Weak::new()), AtomicU64::new(0));
        let leases: Vec<_> = (1..=TOKENS).map(lease).collect();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for lease in leases {
                    let generation = lease.generation;
                    current.store(lease);
                    if generation % 2 == 0 {
                        // Best taken when it has just been seen; no wait for a reader that has given up.
                        (0..10_000).find(|_| told.load(Relaxed) >= generation);
                        current.take();
                    }
                }
            });
            let mut seen = 0;
            while !writer.is_finished() {
                let generation = current.load().as_ref().map(|lease| lease.generation);
                let before = match generation {
                    Some(generation) => {
                        assert!(generation >= seen);
                        seen = generation;
                        told.store(seen, Relaxed);
                        seen - 1
                    }
                    // The one that was there may have been taken, and another not come yet.
                    None => seen,
                };
                assert!(!current.is(current.mark_of(before)), "of {before}, though {generation:?} is there");
            }
        });
        assert!(current.load().is_none());
        assert!((1..=TOKENS).all(|generation| !current.is(current.mark_of(generation))));
    }
}
