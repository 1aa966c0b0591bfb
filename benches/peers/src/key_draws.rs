//! The keys of the calls.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Draws keys uniformly.
#[derive(Clone, Copy, Debug)]
pub struct KeyDraws {
    number: u64,
    state: u64,
}

impl KeyDraws {
    /// Draws from `0..number`. Each instance draws others, so that threads do not use the same keys at the same time.
    pub fn new(number: u64) -> Self {
        static SEED: AtomicU64 = AtomicU64::new(1);
        Self { number, state: SEED.fetch_add(1, Relaxed) }
    }

    #[inline]
    pub fn next(&mut self) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % self.number
    }
}
