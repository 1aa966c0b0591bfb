//! [`CurrentToken`]: the cell that requests read. It contains tokens only; a failure never displaces one.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::cached_token::CachedToken;
use crate::sync::{ArcSwapOption, AtomicU32, Guard};

/// Read by every request, without a lock. Written under the state's lock only.
///
/// It is aligned to separate cache lines, because the fields beside it are written to.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct CurrentToken {
    cell: ArcSwapOption<CachedToken>,
    /// The number of the publication in the cell, or zero while the cell is empty or about to change.
    ///
    /// A writer stores zero, then the cell, then the new epoch. A reader loads the epoch, then the cell. Therefore:
    ///
    /// - Once a thread has observed a changed cell, no thread accepts an older cached header.
    /// - A reader never pairs an old token with a new epoch.
    epoch: AtomicU32,
    /// The epoch of the last publication, without its flag.
    last_epoch: AtomicU32,
}

/// Identifies one publication of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

impl Epoch {
    /// An epoch that is never current.
    pub(crate) const NEVER: Self = Self(Self::CHECK - 1);
    /// Set if the token's expiry must be checked at each use, because its worker may miss the expiry.
    const CHECK: u32 = 1 << 31;

    #[inline]
    pub(crate) fn checks_expiry(self) -> bool {
        self.0 & Self::CHECK != 0
    }
}

/// What a request read from the cell. Drop it before the next await, because `arc-swap` has few fast guards.
pub(crate) struct Loaded {
    pub(crate) epoch: Epoch,
    token: Guard<Option<Arc<CachedToken>>>,
}

impl Loaded {
    /// Returns the token, unless its expiry must be checked and it has expired.
    #[inline]
    pub(crate) fn usable(&self) -> Option<&Arc<CachedToken>> {
        let token = self.token.as_ref()?;
        let unchecked = !self.epoch.checks_expiry() && self.epoch != Epoch::NEVER;
        (unchecked || is_unexpired(token.unusable_at())).then_some(token)
    }
}

/// Returns whether a deadline has not passed.
#[inline]
#[expect(
    clippy::disallowed_methods,
    reason = "a call with a token reads a clock only if it must check the expiry"
)]
pub(crate) fn is_unexpired(deadline: Option<Instant>) -> bool {
    deadline.is_none_or(|deadline| Instant::now() < deadline)
}

impl CurrentToken {
    pub(crate) fn new() -> Self {
        Self {
            cell: ArcSwapOption::empty(),
            epoch: AtomicU32::new(0),
            last_epoch: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(crate) fn load(&self) -> Loaded {
        let epoch = match self.epoch.load(Ordering::Acquire) {
            // Zero is current again once the cell is empty, so nothing may be cached under it.
            0 => Epoch::NEVER,
            epoch => Epoch(epoch),
        };
        Loaded { epoch, token: self.cell.load() }
    }

    /// Returns whether the token of this epoch is still in the cell.
    #[inline]
    pub(crate) fn is_current(&self, epoch: Epoch) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch.0
    }

    /// Publishes a token, or withdraws the current one. The flag says whether each use checks the expiry.
    ///
    /// Only the holder of the state's lock may call this.
    pub(crate) fn set(&self, token: Option<(&Arc<CachedToken>, bool)>) {
        let epoch = Epoch(self.epoch.load(Ordering::Relaxed));
        let unchanged = match (&*self.cell.load(), token) {
            (Some(current), Some((token, check))) => {
                Arc::ptr_eq(current, token) && epoch.checks_expiry() == check
            }
            (None, None) => true,
            _ => false,
        };
        if unchanged {
            return;
        }
        self.epoch.store(0, Ordering::Release);
        self.cell.store(token.map(|(token, _)| token.clone()));
        if let Some((_, check)) = token {
            let next = (self.last_epoch.load(Ordering::Relaxed) + 1) % Epoch::NEVER.0;
            let next = next.max(1);
            self.last_epoch.store(next, Ordering::Relaxed);
            self.epoch.store(if check { next | Epoch::CHECK } else { next }, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        thread,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{clock::Timestamp, refresh::schedule::tests::schedule, token::AccessToken};

    fn cached(generation: u64, lifetime: Duration) -> Arc<CachedToken> {
        let now = Timestamp { wall: SystemTime::UNIX_EPOCH, monotonic: Instant::now() };
        let token = AccessToken::bearer("abc").unwrap().with_expires_in(lifetime);
        Arc::new(CachedToken::new(token, generation, now, now, &schedule(), 0.0))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn each_publication_has_its_own_epoch() {
        let (current, token) = (CurrentToken::new(), cached(1, HOUR));
        assert!(current.load().usable().is_none() && !Epoch::NEVER.checks_expiry());
        let mut seen = Vec::new();
        for check in [false, true, false] {
            current.set(Some((&token, check)));
            let loaded = current.load();
            assert_eq!(loaded.epoch.checks_expiry(), check);
            assert!(current.is_current(loaded.epoch) && !seen.contains(&loaded.epoch));
            seen.push(loaded.epoch);
            current.set(Some((&token, check)));
            assert!(current.is_current(loaded.epoch), "nothing changed");
        }
        current.set(None);
        assert!(seen.into_iter().all(|epoch| !current.is_current(epoch)));
    }

    #[test]
    fn expired_token_is_not_usable_where_expiry_is_checked() {
        let (current, token) = (CurrentToken::new(), cached(1, Duration::ZERO));
        current.set(Some((&token, false)));
        assert!(current.load().usable().is_some(), "the worker withdraws it");
        current.set(Some((&token, true)));
        assert!(current.load().usable().is_none());
    }

    /// The epochs must wrap around without the value that means "empty" and without touching the flag.
    #[test]
    fn epochs_wrap_around() {
        let current = CurrentToken::new();
        current.last_epoch.store(Epoch::NEVER.0 - 2, Relaxed);
        for expected in [Epoch::NEVER.0 - 1, 1, 2] {
            current.set(Some((&cached(1, HOUR), false)));
            assert_eq!(current.load().epoch, Epoch(expected));
        }
    }

    /// With an epoch that is stored after the cell, a stress test of this kind sees hundreds of violations in one run.
    #[test]
    fn seen_change_of_the_cell_ends_every_older_epoch() {
        const TOKENS: u64 = 4_000;
        let (current, reported) = (CurrentToken::new(), AtomicU64::new(0));
        let tokens: Vec<_> = (1..=TOKENS).map(|generation| cached(generation, HOUR)).collect();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for token in tokens {
                    current.set(Some((&token, false)));
                    if token.generation % 2 == 0 {
                        // The race is likeliest when a reader has just seen the token. A reader may have ended.
                        (0..10_000).find(|_| reported.load(Relaxed) >= token.generation);
                        current.set(None);
                    }
                }
            });
            let mut last: Option<(Epoch, u64)> = None;
            while !writer.is_finished() {
                let loaded = current.load();
                let generation = loaded.token.as_ref().map(|token| token.generation);
                if let Some((epoch, seen)) = last {
                    assert!(generation.is_none_or(|generation| generation >= seen));
                    if generation != Some(seen) {
                        assert!(
                            !current.is_current(epoch),
                            "generation {seen} is current, the cell has {generation:?}"
                        );
                    }
                }
                if let Some(generation) = generation {
                    reported.store(generation, Relaxed);
                    last = Some((loaded.epoch, generation));
                }
            }
        });
        assert!(current.load().usable().is_none());
    }
}
