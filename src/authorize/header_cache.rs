//! The header value of the current token, kept where the next call finds it at less cost than in the cell.
//!
//! [`SharedHeader`] is for all clones of a service on one shard of the threads, as for a clone for each call. [`HeaderCache`] is
//! for one service that is used for many calls, and takes no lock.

use std::sync::{Mutex, MutexGuard, TryLockError};

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::header_config::HeaderConfig;
use crate::{
    AuthRefresher,
    refresh::{Epoch, TokenId, is_before},
    shard::ShardId,
};

/// The header value of one publication of a token.
#[derive(Clone, Debug)]
pub(crate) struct CachedHeader {
    epoch: Epoch,
    /// Whose copy the value is. Threads of another shard use another copy, to avoid contention.
    shard: ShardId,
    token: TokenId,
    value: HeaderValue,
    /// Until when the token can be used, where the epoch says that this must be checked.
    deadline: Option<Instant>,
}

impl CachedHeader {
    /// Reads the cell.
    fn read(refresher: &AuthRefresher) -> Option<Self> {
        let current = refresher.current();
        let token = current.usable()?;
        let (shard, value) = token.header.local();
        let (id, deadline) = (refresher.token_id(token), token.usable_until());
        Some(Self { epoch: current.epoch, shard, token: id, value: value.clone(), deadline })
    }

    /// Returns whether the token is current, and the value is that of the thread's shard.
    #[inline]
    fn is_usable(&self, refresher: &AuthRefresher) -> bool {
        refresher.is_current(self.epoch)
            && self.shard.is_local()
            && (!self.epoch.checks_expiry() || is_before(self.deadline))
    }
}

/// The header that the clones of a service share on one shard.
#[derive(Debug, Default)]
pub(crate) struct SharedHeader(Mutex<Option<CachedHeader>>);

impl SharedHeader {
    /// Returns the cached header, or that of the token in the cell.
    #[inline]
    fn get(&self, refresher: &AuthRefresher) -> Option<CachedHeader> {
        let mut cached = self.try_lock();
        if let Some(Some(header)) = cached.as_deref()
            && header.is_usable(refresher)
        {
            return Some(header.clone());
        }
        let header = CachedHeader::read(refresher);
        let replaced = cached.as_deref_mut().map(|cached| std::mem::replace(cached, header.clone()));
        drop(cached);
        drop(replaced);
        header
    }

    /// Drops a secret that is no longer current.
    pub(crate) fn evict_stale(&self, refresher: &AuthRefresher) {
        let stale = self.try_lock().and_then(|mut cached| cached.take_if(|header| !header.is_usable(refresher)));
        drop(stale);
    }

    /// A thread that finds the lock taken reads the cell. Nothing panics under the lock, so a poisoned one is still valid.
    #[inline]
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<CachedHeader>>> {
        match self.0.try_lock() {
            Ok(cached) => Some(cached),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A copy for another shard starts empty.
impl Clone for SharedHeader {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What one service keeps of the token that it used last. One atomic load says whether that is still current.
#[derive(Debug)]
pub(crate) struct HeaderCache {
    /// The epoch of the cached token. That of an empty cache is never current.
    epoch: Epoch,
    cached: Option<CachedHeader>,
    /// The service has used a token. Many services are cloned for one call; for them a cached value does not pay.
    has_used_one: bool,
}

impl Default for HeaderCache {
    #[inline]
    fn default() -> Self {
        Self { epoch: Epoch::NEVER, cached: None, has_used_one: false }
    }
}

impl HeaderCache {
    /// Inserts the current token into a request.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        refresher: &AuthRefresher,
        shared: &SharedHeader,
        config: &HeaderConfig,
        headers: &mut HeaderMap,
    ) -> Option<TokenId> {
        if refresher.is_current(self.epoch)
            && let Some(cached) = &self.cached
            && cached.shard.is_local()
        {
            config.insert(headers, cached.value.clone());
            return Some(cached.token);
        }
        let header = shared.get(refresher);
        if self.has_used_one {
            self.keep(header.as_ref());
        }
        let CachedHeader { token, value, .. } = header?;
        self.has_used_one = true;
        config.insert(headers, value);
        Some(token)
    }

    /// Keeps a header, unless the expiry of its token must be checked at each use.
    #[cold]
    fn keep(&mut self, header: Option<&CachedHeader>) {
        let header = header.filter(|header| !header.epoch.checks_expiry());
        self.epoch = header.map_or(Epoch::NEVER, |header| header.epoch);
        self.cached = header.cloned();
    }

    /// Drops a secret that is no longer current.
    pub(crate) fn evict_stale(&mut self, refresher: &AuthRefresher) {
        if !refresher.is_current(self.epoch) {
            *self = Self::default();
        }
    }
}

/// A clone starts empty: to copy the value would cost more than to read it.
impl Clone for HeaderCache {
    #[inline]
    fn clone(&self) -> Self {
        Self::default()
    }
}
