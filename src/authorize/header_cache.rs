//! [`HeaderCache`]: the header value that one service keeps, so that its next call need not read it from the cell.

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::header_config::HeaderConfig;
use crate::{
    AuthRefresher,
    refresh::{Epoch, ShardId, TokenId, is_before},
};

/// What a service keeps of the token that it used last. One atomic load says whether that is still current.
#[derive(Debug)]
pub(crate) struct HeaderCache {
    /// The epoch of the cached token. That of an empty cache is never current.
    epoch: Epoch,
    /// The same, for a token whose expiry must be checked at each use. In a field of its own, so that other tokens do not pay
    /// for it.
    checked_epoch: Epoch,
    /// Until when a token can be used whose expiry must be checked.
    deadline: Option<Instant>,
    /// A service that moves to a thread of another shard uses that shard's copy, to avoid contention.
    shard: ShardId,
    token: TokenId,
    /// Empty if the cache is.
    value: HeaderValue,
    /// The service has used a token. Many services are cloned for one call; for them a cached value does not pay.
    has_used_one: bool,
}

impl Default for HeaderCache {
    fn default() -> Self {
        Self {
            epoch: Epoch::NEVER,
            checked_epoch: Epoch::NEVER,
            deadline: None,
            shard: ShardId::NONE,
            token: TokenId::NONE,
            value: HeaderValue::from_static(""),
            has_used_one: false,
        }
    }
}

impl HeaderCache {
    /// Returns the cached value, if it is current and belongs to the thread's shard.
    #[inline]
    pub(crate) fn get(&self, refresher: &AuthRefresher) -> Option<(TokenId, &HeaderValue)> {
        let is_valid = (refresher.is_current(self.epoch) || self.is_checked(refresher)) && self.shard.is_local();
        is_valid.then_some((self.token, &self.value))
    }

    /// Returns whether the cached token is one whose expiry must be checked, and is current.
    #[cold]
    fn is_checked(&self, refresher: &AuthRefresher) -> bool {
        refresher.is_current(self.checked_epoch) && is_before(self.deadline)
    }

    /// Drops a secret that is no longer current.
    pub(crate) fn evict_stale(&mut self, refresher: &AuthRefresher) {
        if !refresher.is_current(self.epoch) && !self.is_checked(refresher) {
            *self = Self::default();
        }
    }

    /// Inserts the token that is in the cell into a request, and caches it from the second time on.
    pub(crate) fn load(
        &mut self,
        refresher: &AuthRefresher,
        config: &HeaderConfig,
        headers: &mut HeaderMap,
    ) -> Option<TokenId> {
        let current = refresher.current();
        let Some(token) = current.usable() else {
            *self = Self::default();
            return None;
        };
        let (id, (shard, value)) = (refresher.token_id(token), token.header.local());
        config.insert(headers, value);
        if self.has_used_one {
            let checks_expiry = current.epoch.checks_expiry();
            *self = Self {
                epoch: if checks_expiry { Epoch::NEVER } else { current.epoch },
                checked_epoch: if checks_expiry { current.epoch } else { Epoch::NEVER },
                deadline: token.usable_until(),
                shard,
                token: id,
                value: value.clone(),
                has_used_one: true,
            };
        }
        self.has_used_one = true;
        Some(id)
    }
}

/// A clone starts empty: to copy the value would cost more than to read the cell.
impl Clone for HeaderCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}
