//! [`NewKeyLimit`]: how many keys can be new in a period.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::rate_limit::{RateBudget, RateLimit};

/// The limit on new keys.
#[derive(Debug)]
pub(super) struct NewKeyLimit {
    limit: RateLimit,
    budget: Mutex<RateBudget>,
}

impl NewKeyLimit {
    pub(super) fn new(max: u32, per: Duration) -> Self {
        Self { limit: RateLimit { max, per }, budget: Mutex::default() }
    }

    pub(super) fn allows_another(&self) -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "the limit belongs to no refresher, whose clock it could use"
        )]
        let now = Instant::now();
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).try_consume(self.limit, now)
    }
}
