//! [`Core`]: the user code that a worker borrows for one login.

use std::fmt;

use crate::{login::erased::Login, panic};

/// The login service and the random source. It is in its slot while no login is under way.
pub(crate) struct Core {
    pub(crate) login: Box<dyn Login>,
    pub(crate) rng: Box<dyn FnMut() -> u64 + Send>,
}

impl Core {
    /// Returns a random number in `[0, 1)`, or zero if the random source panics.
    pub(crate) fn random(&mut self) -> f64 {
        let number = panic::catch(&mut self.rng).unwrap_or_default();
        // A double represents 53 bits exactly.
        (number >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
