//! Caches of the current token's header value, which cost less to read than the cell.
//!
//! All clones of a service on one shard of the threads share a [`SharedHeader`]. It serves clones that make one call
//! each. Each service has a [`HeaderCache`]. It serves a service that makes many calls, and needs no lock.

use std::{mem, sync::TryLockError};

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::header_config::HeaderConfig;
use crate::{
    AuthRefresher,
    refresh::{Epoch, TokenId, is_unexpired},
    shard::ShardId,
    sync::{Mutex, MutexGuard},
};

/// The header value of one publication of a token.
#[derive(Clone, Debug)]
pub(crate) struct CachedHeader {
    epoch: Epoch,
    /// The shard that the value belongs to. Threads of another shard use another copy, to avoid contention.
    shard: ShardId,
    token: TokenId,
    value: HeaderValue,
    /// When the token becomes unusable. Checked only if the epoch requires it.
    deadline: Option<Instant>,
}

impl CachedHeader {
    /// Reads the cell.
    pub(super) fn from_cell(refresher: &AuthRefresher) -> Option<Self> {
        let current = refresher.current();
        let token = current.usable()?;
        let (shard, value) = token.header.local();
        let (id, deadline) = (refresher.id_of(token), token.unusable_at());
        Some(Self { epoch: current.epoch, shard, token: id, value: value.clone(), deadline })
    }

    /// Returns whether the token is current and usable, and the value belongs to the current thread's shard.
    #[inline]
    pub(super) fn is_usable(&self, refresher: &AuthRefresher) -> bool {
        refresher.is_current(self.epoch)
            && self.shard.is_local()
            && (!self.epoch.checks_expiry() || is_unexpired(self.deadline))
    }
}

#[cfg(feature = "keyed")]
impl CachedHeader {
    /// Inserts the value into a request, and returns its token.
    #[inline]
    pub(super) fn insert_into(&self, headers: &mut HeaderMap, config: &HeaderConfig) -> TokenId {
        config.insert_clone(headers, &self.value);
        self.token
    }
}

/// The header value that the clones of a service share on one shard.
#[derive(Debug, Default)]
pub(crate) struct SharedHeader(Mutex<Option<CachedHeader>>);

impl SharedHeader {
    /// Reads the cached header, or that of the token in the cell.
    #[inline]
    fn read_or_refill<R>(
        &self,
        refresher: &AuthRefresher,
        read: impl FnOnce(&CachedHeader) -> R,
    ) -> Option<R> {
        if let Some(cached) = self.try_lock()
            && let Some(header) = cached.as_ref()
            && header.is_usable(refresher)
        {
            return Some(read(header));
        }
        self.refill_from_cell(refresher).as_ref().map(read)
    }

    #[cold]
    fn refill_from_cell(&self, refresher: &AuthRefresher) -> Option<CachedHeader> {
        let header = CachedHeader::from_cell(refresher);
        let replaced = self.try_lock().map(|mut cached| mem::replace(&mut *cached, header.clone()));
        drop(replaced);
        header
    }

    /// Drops the cached value if it is no longer usable.
    pub(crate) fn evict_stale(&self, refresher: &AuthRefresher) {
        let stale = self
            .try_lock()
            .and_then(|mut cached| cached.take_if(|header| !header.is_usable(refresher)));
        drop(stale);
    }

    /// Returns `None` if another thread has the lock, because a call must not wait. Nothing panics under this lock, so
    /// a poisoned one is still valid.
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

/// The header value that one service used last. One atomic load shows whether it is still current.
#[derive(Debug)]
pub(crate) struct HeaderCache {
    /// The epoch of a cached token; `NEVER` if there is none, or if its expiry is checked at each use.
    epoch: Epoch,
    /// The epoch of a cached token whose expiry is checked at each use, else `NEVER`. It is a separate field, so that
    /// other tokens cost no further comparison.
    checked_epoch: Epoch,
    cached: Option<CachedHeader>,
    /// The service has used a token. A service that is cloned for one call gains nothing from a cache.
    has_used_one: bool,
}

impl Default for HeaderCache {
    #[inline]
    fn default() -> Self {
        Self { epoch: Epoch::NEVER, checked_epoch: Epoch::NEVER, cached: None, has_used_one: false }
    }
}

impl HeaderCache {
    /// Inserts the current token into a request.
    #[inline]
    pub(crate) fn insert_current(
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
            config.insert_clone(headers, &cached.value);
            return Some(cached.token);
        }
        self.insert_on_miss(refresher, shared, config, headers)
    }

    /// Inserts the token that all clones share. Caches it from the second use on.
    fn insert_on_miss(
        &mut self,
        refresher: &AuthRefresher,
        shared: &SharedHeader,
        config: &HeaderConfig,
        headers: &mut HeaderMap,
    ) -> Option<TokenId> {
        if self.has_used_one {
            return self.insert_checked_or_refill(refresher, shared, config, headers);
        }
        let (token, value) =
            shared.read_or_refill(refresher, |header| (header.token, header.value.clone()))?;
        self.has_used_one = true;
        config.insert(headers, value);
        Some(token)
    }

    /// Inserts the cached token if its expiry is checked at each use. If it is not usable, first caches the token that
    /// all clones share.
    fn insert_checked_or_refill(
        &mut self,
        refresher: &AuthRefresher,
        shared: &SharedHeader,
        config: &HeaderConfig,
        headers: &mut HeaderMap,
    ) -> Option<TokenId> {
        let is_cached_usable = refresher.is_current(self.checked_epoch)
            && self.cached.as_ref().is_some_and(|cached| cached.is_usable(refresher));
        if !is_cached_usable {
            self.store(shared.read_or_refill(refresher, CachedHeader::clone));
        }
        let cached = self.cached.as_ref()?;
        config.insert_clone(headers, &cached.value);
        Some(cached.token)
    }

    #[cold]
    fn store(&mut self, header: Option<CachedHeader>) {
        let (unchecked, checked) = match &header {
            Some(header) if header.epoch.checks_expiry() => (Epoch::NEVER, header.epoch),
            Some(header) => (header.epoch, Epoch::NEVER),
            None => (Epoch::NEVER, Epoch::NEVER),
        };
        (self.epoch, self.checked_epoch) = (unchecked, checked);
        self.cached = header;
    }

    /// Drops the cached value if it is no longer usable.
    pub(crate) fn evict_stale(&mut self, refresher: &AuthRefresher) {
        if self.cached.as_ref().is_some_and(|cached| !cached.is_usable(refresher)) {
            *self = Self::default();
        }
    }
}

/// A clone starts empty, because copying the value costs more than reading it.
impl Clone for HeaderCache {
    #[inline]
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
        time::Duration,
    };

    use http::{Request, Response};
    use tower::{BoxError, Service, service_fn};

    use super::*;
    use crate::{AccessToken, AuthRefresh, LoginReason, LoginRequest, TokenValidFor};

    /// A unit test, because no public API shows whether the bytes of a secret have been released.
    #[tokio::test(start_paused = true)]
    async fn call_without_a_token_drops_both_cached_secrets() {
        let refresher = AuthRefresher::new(service_fn(|request: LoginRequest| async move {
            if !matches!(request.reason, LoginReason::First) {
                std::future::pending::<()>().await;
            }
            AccessToken::bearer("abc")
        }));
        let http = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
        let mut service = AuthRefresh::new(http, refresher.clone());
        let request = || Request::get("https://api.example.com/").body(()).unwrap();
        for _ in 0..3 {
            service.call(request()).await.unwrap();
        }
        let has_secrets = |service: &AuthRefresh<_>| {
            let (own, shared) = service.header_caches();
            (own.cached.is_some(), shared.0.lock().unwrap().is_some())
        };
        assert_eq!(has_secrets(&service), (true, true));
        refresher.invalidate();
        // A request that does not read the caches.
        let mut request = request();
        request.extensions_mut().insert(TokenValidFor(Duration::from_secs(1)));
        assert!(
            pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop())).is_pending()
        );
        assert_eq!(has_secrets(&service), (false, false));
    }
}
