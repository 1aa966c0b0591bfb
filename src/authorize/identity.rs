//! [`IdentityPolicy`]: selects the refresher of a request. [`SingleIdentity`] is the trivial policy.

use std::fmt::Debug;

use http::{Extensions, Request};

use super::{
    error::Error,
    extensions::TokenValidFor,
    header_cache::{HeaderCache, SharedHeader},
    header_config::HeaderConfig,
};
use crate::{AuthRefresher, refresh::TokenId, telemetry::Telemetry};

/// Selects the identity whose token a request gets: [one for all](SingleIdentity), or one for each key
/// (`KeyedIdentity`).
///
/// The trait is sealed: only this crate implements it. It is a bound of functions that are generic over the layer.
///
/// ```
/// use tower_auth_refresh::{AuthRefreshLayer, IdentityPolicy};
///
/// fn with_origin<P, C, I: IdentityPolicy>(layer: AuthRefreshLayer<P, C, I>) -> AuthRefreshLayer<P, C, I> {
///     layer.if_not_present(true)
/// }
/// ```
#[allow(private_bounds, reason = "seals the trait")]
pub trait IdentityPolicy: Select {}

/// The methods of [`IdentityPolicy`].
pub(crate) trait Select: Clone {
    /// What one service stores between calls. A clone starts empty.
    type Cache: Clone + Debug + Default;
    /// What all clones of a service on one shard of the threads share.
    type Shared: Clone + Debug + Default;
    /// The refresher that a call has selected.
    type Selected: Clone;

    /// The fast path: inserts the current token of the request's identity, if there is one.
    fn insert_current<B>(
        &self,
        cache: &mut Self::Cache,
        shared: &Self::Shared,
        config: &HeaderConfig,
        request: &mut Request<B>,
    ) -> Option<TokenId>;

    /// Returns whether the request demands a token that lives for a while.
    #[inline]
    fn demands_token_life(extensions: &Extensions) -> bool {
        TokenValidFor::from_extensions(extensions).is_some()
    }

    /// Returns what the last call of [`insert_current`](Self::insert_current) that returned a token has selected.
    fn last_selected(cache: &Self::Cache) -> Option<&Self::Selected>;

    /// Drops cached header values that are no longer usable.
    fn evict_stale(&self, cache: &mut Self::Cache, shared: &Self::Shared);

    /// Selects the identity of a request.
    ///
    /// # Errors
    ///
    /// The request has no identity, or there is no refresher for it.
    fn select<B>(&self, request: &Request<B>) -> Result<Self::Selected, Error>;

    fn refresher<'a>(&'a self, selected: &'a Self::Selected) -> &'a AuthRefresher;

    /// Returns the telemetry of requests without an identity.
    fn telemetry(&self) -> &Telemetry;
}

/// Uses the same identity for all requests. The default.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, NeverReplay, SingleIdentity, UnauthorizedAsRejection, login_fn};
///
/// let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
/// let layer: AuthRefreshLayer<NeverReplay, UnauthorizedAsRejection, SingleIdentity> =
///     AuthRefreshLayer::with_login(login);
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
pub struct SingleIdentity {
    pub(super) refresher: AuthRefresher,
}

impl IdentityPolicy for SingleIdentity {}

impl Select for SingleIdentity {
    type Cache = HeaderCache;
    type Shared = SharedHeader;
    type Selected = ();

    #[inline]
    fn insert_current<B>(
        &self,
        cache: &mut HeaderCache,
        shared: &SharedHeader,
        config: &HeaderConfig,
        request: &mut Request<B>,
    ) -> Option<TokenId> {
        cache.insert_current(&self.refresher, shared, config, request.headers_mut())
    }

    #[inline]
    fn last_selected(_: &HeaderCache) -> Option<&()> {
        Some(&())
    }

    fn evict_stale(&self, cache: &mut HeaderCache, shared: &SharedHeader) {
        cache.evict_stale(&self.refresher);
        shared.evict_stale(&self.refresher);
    }

    #[inline]
    fn select<B>(&self, _: &Request<B>) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn refresher<'a>(&'a self, (): &'a ()) -> &'a AuthRefresher {
        &self.refresher
    }

    fn telemetry(&self) -> &Telemetry {
        self.refresher.telemetry()
    }
}
