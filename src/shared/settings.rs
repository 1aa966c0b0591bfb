//! [`Settings`]: the settings of a [`SharedTokenLayer`](super::SharedTokenLayer), with their defaults.

use std::{fmt, sync::Arc, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};

use super::sealed_store::SealedStore;
use crate::panic;

/// The least time to live of a claim. A process extends its claim every third of the time to live.
pub(super) const MIN_CLAIM_TIME_TO_LIVE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) store: SealedStore,
    pub(super) login_timeout: Duration,
    pub(super) claim_time_to_live: Duration,
    pub(super) store_timeout: Duration,
    pub(super) rng: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Settings {
    pub(super) fn new(store: SealedStore) -> Self {
        Self {
            store,
            login_timeout: Duration::from_secs(15),
            claim_time_to_live: Duration::from_secs(5),
            store_timeout: Duration::from_millis(500),
            rng: Arc::new(system_random),
        }
    }

    /// Returns a random number in `[0, 1)`. If the source panics, the number is that of the default one.
    pub(super) fn random(&self) -> f64 {
        let number = panic::catch(|| (self.rng)()).unwrap_or_else(system_random);
        // A double represents 53 bits exactly.
        (number >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The processes of a server that forks have the same seeds, so the number comes from the operating system.
fn system_random() -> u64 {
    let mut bytes = [0; 8];
    // If it has none, the number is constant, and no login takes place, because no claim can get an id.
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("key", &self.store.key)
            .field("keys", &self.store.keys)
            .field("login_timeout", &self.login_timeout)
            .field("claim_time_to_live", &self.claim_time_to_live)
            .field("store_timeout", &self.store_timeout)
            .finish_non_exhaustive()
    }
}
