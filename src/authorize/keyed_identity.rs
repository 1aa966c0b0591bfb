//! [`KeyedIdentity`]: selects the refresher by a key of the request.

use std::{fmt, hash::Hash, sync::Arc};

use http::{Extensions, HeaderMap, Request, Uri};

use super::{
    error::Error,
    extensions::TokenValidFor,
    header_cache::CachedHeader,
    header_config::HeaderConfig,
    identity::{IdentityPolicy, Select},
};
use crate::{
    AuthRefresher, AuthRefreshers, KeyError, keyed::KeyEntry, refresh::TokenId,
    telemetry::Telemetry,
};

/// Uses the identity of a request's key. [`AuthRefreshLayer::keyed`](crate::AuthRefreshLayer::keyed) creates it.
///
/// A request without a key fails with [`Error::Key`]. There is no default identity.
pub struct KeyedIdentity<K, Q = KeyFromExtensions> {
    refreshers: AuthRefreshers<K>,
    source: Q,
}

/// Selects the key of a request. Sealed: [`KeyFromExtensions`] and [`KeyFromFn`] implement it.
#[allow(private_bounds, reason = "seals the trait")]
pub trait KeySource<K>: ReadKey<K> {}

/// What a [`KeySource`] does.
pub(crate) trait ReadKey<K>: Clone {
    /// The number of extensions of a request that has a key and no other extension.
    const EXTENSIONS: usize;

    /// Calls a function with the key, if the request has one.
    fn with_key<B, R>(&self, request: &Request<B>, use_key: impl FnOnce(&K) -> R) -> Option<R>;
}

/// Reads the key from the request's extensions. The default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyFromExtensions;

/// Reads the key with a function of the request's URI, headers and extensions.
/// [`AuthRefreshLayer::key_by`](crate::AuthRefreshLayer::key_by) creates it.
#[derive(Clone, Copy)]
pub struct KeyFromFn<F>(F);

impl<K: Send + Sync + 'static> KeySource<K> for KeyFromExtensions {}

impl<K: Send + Sync + 'static> ReadKey<K> for KeyFromExtensions {
    const EXTENSIONS: usize = 1;

    #[inline]
    fn with_key<B, R>(&self, request: &Request<B>, use_key: impl FnOnce(&K) -> R) -> Option<R> {
        request.extensions().get().map(use_key)
    }
}

impl<K, F: Fn(&Uri, &HeaderMap, &Extensions) -> Option<K> + Clone> KeySource<K> for KeyFromFn<F> {}

impl<K, F: Fn(&Uri, &HeaderMap, &Extensions) -> Option<K> + Clone> ReadKey<K> for KeyFromFn<F> {
    const EXTENSIONS: usize = 0;

    #[inline]
    fn with_key<B, R>(&self, request: &Request<B>, use_key: impl FnOnce(&K) -> R) -> Option<R> {
        self.0(request.uri(), request.headers(), request.extensions()).as_ref().map(use_key)
    }
}

impl<K> KeyedIdentity<K> {
    pub(super) fn new(refreshers: AuthRefreshers<K>) -> Self {
        Self { refreshers, source: KeyFromExtensions }
    }
}

impl<K, Q> KeyedIdentity<K, Q> {
    pub(super) fn with_key_fn<F>(self, key: F) -> KeyedIdentity<K, KeyFromFn<F>> {
        KeyedIdentity { refreshers: self.refreshers, source: KeyFromFn(key) }
    }
}

/// The key of a service's last call. It pins the key in the handle.
pub(crate) struct LastKey<K>(Option<Last<K>>);

struct Last<K> {
    entry: Arc<KeyEntry<K>>,
    /// The header value, from the second call in a row with this key on.
    header: Option<CachedHeader>,
}

impl<K, Q> IdentityPolicy for KeyedIdentity<K, Q>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    Q: KeySource<K>,
{
}

impl<K, Q> Select for KeyedIdentity<K, Q>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    Q: KeySource<K>,
{
    type Cache = LastKey<K>;
    /// A header value that clones share would be for one key.
    type Shared = ();
    type Selected = Arc<KeyEntry<K>>;

    #[inline]
    fn insert_current<B>(
        &self,
        cache: &mut LastKey<K>,
        (): &(),
        config: &HeaderConfig,
        request: &mut Request<B>,
    ) -> Option<TokenId> {
        let is_last = self
            .source
            .with_key(request, |key| cache.is_for(key) || cache.look_up(key, &self.refreshers))?;
        let last = cache.0.as_mut()?;
        if is_last {
            last.insert_again(config, request.headers_mut())
        } else {
            last.insert_first(config, request.headers_mut())
        }
    }

    /// A request with a key alone needs no second lookup.
    #[inline]
    fn demands_token_life(extensions: &Extensions) -> bool {
        extensions.len() > Q::EXTENSIONS && TokenValidFor::from_extensions(extensions).is_some()
    }

    #[inline]
    fn last_selected(cache: &LastKey<K>) -> Option<&Arc<KeyEntry<K>>> {
        cache.0.as_ref().map(|last| &last.entry)
    }

    fn evict_stale(&self, cache: &mut LastKey<K>, (): &()) {
        drop(cache.0.take_if(|last| last.entry.is_forgotten()));
        if let Some(last) = &mut cache.0 {
            let refresher = &last.entry.refresher;
            drop(last.header.take_if(|header| !header.is_usable(refresher)));
        }
    }

    fn select<B>(&self, request: &Request<B>) -> Result<Arc<KeyEntry<K>>, Error> {
        let entry = self.source.with_key(request, |key| self.refreshers.entry(key));
        entry.unwrap_or_else(|| Err(KeyError::missing_key())).map_err(|error| {
            self.telemetry().request_not_sent(error.label());
            Error::Key(error)
        })
    }

    #[inline]
    fn refresher<'a>(&'a self, selected: &'a Arc<KeyEntry<K>>) -> &'a AuthRefresher {
        &selected.refresher
    }

    fn telemetry(&self) -> &Telemetry {
        self.refreshers.telemetry()
    }
}

impl<K: Hash + Eq + Clone> LastKey<K> {
    #[inline]
    fn is_for(&self, key: &K) -> bool {
        self.0.as_ref().is_some_and(|last| last.entry.key == *key && !last.entry.is_forgotten())
    }

    /// Stores the entry of a key, if there is one. If there is none, the slow path creates it, or reports why not.
    /// Returns `false`: it is not the entry of the last call.
    #[inline(never)]
    fn look_up(&mut self, key: &K, refreshers: &AuthRefreshers<K>) -> bool {
        self.0 = refreshers.cached(key).map(|entry| Last { entry, header: None });
        false
    }
}

impl<K> Last<K> {
    /// Inserts the token of the cell. Caches nothing: a call with another key would discard it.
    #[inline(never)]
    fn insert_first(&self, config: &HeaderConfig, headers: &mut HeaderMap) -> Option<TokenId> {
        let current = self.entry.refresher.current();
        let token = current.usable()?;
        config.insert_clone(headers, token.header.local().1);
        Some(self.entry.refresher.id_of(token))
    }

    /// Inserts the cached token if it is current, else caches that of the cell.
    #[inline]
    fn insert_again(&mut self, config: &HeaderConfig, headers: &mut HeaderMap) -> Option<TokenId> {
        let refresher = &self.entry.refresher;
        if let Some(header) = &self.header
            && header.is_usable(refresher)
        {
            return Some(header.insert_into(headers, config));
        }
        self.refill(config, headers)
    }

    #[cold]
    fn refill(&mut self, config: &HeaderConfig, headers: &mut HeaderMap) -> Option<TokenId> {
        self.header = CachedHeader::from_cell(&self.entry.refresher);
        self.header.as_ref().map(|header| header.insert_into(headers, config))
    }
}

impl<K> Default for LastKey<K> {
    fn default() -> Self {
        Self(None)
    }
}

/// A clone starts empty, because it may serve another key.
impl<K> Clone for LastKey<K> {
    #[inline]
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Shows no key.
impl<K> fmt::Debug for LastKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastKey").finish_non_exhaustive()
    }
}

impl<K, Q: Clone> Clone for KeyedIdentity<K, Q> {
    fn clone(&self) -> Self {
        Self { refreshers: self.refreshers.clone(), source: self.source.clone() }
    }
}

impl<K, Q> fmt::Debug for KeyedIdentity<K, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedIdentity")
            .field("refreshers", &self.refreshers)
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for KeyFromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFromFn").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::{Request, Response};
    use tower::{BoxError, Layer, Service, service_fn};

    use super::*;
    use crate::{AccessToken, AuthRefreshLayer, LoginReason, LoginRequest};

    /// A unit test, because no public API shows whether the bytes of a secret have been released.
    #[tokio::test(start_paused = true)]
    async fn slow_path_drops_a_cached_secret_only_if_it_is_withdrawn() {
        let refreshers = AuthRefreshers::builder(|_: &u32| {
            AuthRefresher::builder(service_fn(|request: LoginRequest| async move {
                if !matches!(request.reason, LoginReason::First) {
                    pending::<()>().await;
                }
                AccessToken::bearer("abc")
            }))
        });
        let refreshers = refreshers.build().unwrap();
        let identity = KeyedIdentity::<u32>::new(refreshers.clone());
        let http = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
        let request =
            || Request::get("https://api.example.com/").extension(1_u32).body(()).unwrap();
        let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(http);
        service.call(request()).await.unwrap();

        let mut cache = LastKey::default();
        for _ in 0..2 {
            let mut request = request();
            identity.insert_current(&mut cache, &(), &HeaderConfig::default(), &mut request);
        }
        let has_secret = |cache: &LastKey<u32>| cache.0.as_ref().unwrap().header.is_some();
        identity.evict_stale(&mut cache, &());
        assert!(has_secret(&cache), "its token is current");
        refreshers.get(&1).unwrap().invalidate();
        identity.evict_stale(&mut cache, &());
        assert!(!has_secret(&cache));
    }
}
