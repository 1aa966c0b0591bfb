//! [`AuthRefresh`]: the hot path. `layer` has `AuthRefresh::layer`.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{
    classify::{ClassifyRejection, UnauthorizedAsRejection},
    config::Config,
    error::Error,
    extensions::TokenValidFor,
    future::ResponseFuture,
    header_config::Decision,
    identity::{IdentityPolicy, Select, SingleIdentity},
    in_flight::{RequestSender, Unsent},
    replay::policy::{NeverReplay, ReplayPolicy},
    service_context::ServiceContext,
    sharded_arc::ShardedArc,
    slow_path::SlowPath,
};
use crate::{AuthRefresher, error::BoxError, refresh::TokenId};

/// Sets the current token on each request. [`AuthRefreshLayer`](crate::AuthRefreshLayer) creates this service, and has
/// its settings.
///
/// - With a token, a call costs one atomic load, one clone of the header value and one insert. The second call of a
///   service caches the header value, and later calls use it. The first call after the token was replaced drops the
///   cached value. Clones share a few such caches: one for each shard, which is a group of threads. A cache retains an
///   old value until the next call of its shard.
/// - Without a token, the call waits for a login. While it waits, the call occupies no capacity of the inner service.
///   Therefore the inner service must be `Clone`. If it is not, put a `BufferLayer` between the two.
/// - The service is ready when the inner service is, with or without a token.
/// - The service is `Send` if its inner service is, and if its replay policy and classifier are `Send` and `Sync`.
///
/// ```
/// use http::{Request, Response, header::AUTHORIZATION};
/// use tower::{BoxError, ServiceExt, service_fn};
/// use tower_auth_refresh::{AccessToken, AuthRefresh, AuthRefresher, LoginRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let refresher = AuthRefresher::new(service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") }));
/// let http = service_fn(|request: Request<()>| async move {
///     Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
/// });
/// let client = AuthRefresh::new(http, refresher);
///
/// let request = Request::get("https://api.example.com/").body(())?;
/// assert_eq!(client.oneshot(request).await?.body(), "Bearer abc");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AuthRefresh<
    S,
    P = NeverReplay,
    C = UnauthorizedAsRejection,
    I: IdentityPolicy = SingleIdentity,
> {
    inner: S,
    context: ShardedArc<ServiceContext<P, C, I>>,
    cache: <I as Select>::Cache,
}

impl<S, P, C, I: IdentityPolicy> AuthRefresh<S, P, C, I> {
    pub(crate) fn with_config(inner: S, identity: I, config: Config<P, C>) -> Self {
        let context = ShardedArc::new(ServiceContext::new(identity, config));
        Self { inner, context, cache: Default::default() }
    }

    #[cfg(test)]
    pub(crate) fn header_caches(&self) -> (&I::Cache, &I::Shared) {
        (&self.cache, &self.context.shared)
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R, P, C, I> Service<Request<B>> for AuthRefresh<S, P, C, I>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: ReplayPolicy<B> + Clone,
    C: ClassifyRejection + Clone,
    I: IdentityPolicy,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S, B, P, C, I>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(token) = self.authorize(&mut request) else { return self.call_slow(request) };
        let config = &self.context.config;
        let request = config.replay.wrap(request);
        let saved = I::last_selected(&self.cache).and_then(|selected| {
            let sender = || RequestSender {
                inner: self.inner.clone(),
                context: self.context.clone(),
                selected: selected.clone(),
            };
            config.replay.save(&request, sender)
        });
        let future = self.inner.call(config.replay.finish(request));
        ResponseFuture::called(future, Some(token), config.classify.clone(), saved)
    }
}

impl<S: Clone, P: Clone, C: Clone, I: IdentityPolicy> AuthRefresh<S, P, C, I> {
    /// The fast path: inserts the current token, if there is one and the request is allowed to have it.
    #[inline]
    fn authorize<B>(&mut self, request: &mut Request<B>) -> Option<TokenId> {
        let ServiceContext { identity, config, https_suffices, shared } = &*self.context;
        let can_take_it = (*https_suffices
            && config.header.destinations.surely_allows(request.uri()))
            || config.allows_fast_path(request);
        if !can_take_it || I::demands_token_life(request.extensions()) {
            return None;
        }
        identity.insert_current(&mut self.cache, shared, &config.header, request)
    }

    /// The slow path: requests that get no token or wait for one, and those whose response receives a
    /// [`TokenInfo`](crate::TokenInfo).
    fn call_slow<B>(&mut self, request: Request<B>) -> ResponseFuture<S, B, P, C, I>
    where
        S: Service<Request<P::Body>>,
        P: ReplayPolicy<B>,
    {
        let ServiceContext { identity, config, shared, .. } = &*self.context;
        identity.evict_stale(&mut self.cache, shared);
        match config.header.decide(request.uri(), request.headers()) {
            Decision::InsertToken => {}
            Decision::SkipToken => {
                let request = request.map(|body| config.replay.wrap_unsaved(body));
                return ResponseFuture::called(
                    self.inner.call(request),
                    None,
                    config.classify.clone(),
                    None,
                );
            }
            Decision::Fail(error) => {
                identity.telemetry().request_not_sent(error.label());
                self.release_readiness();
                return ResponseFuture::not_sent(Error::Destination(error));
            }
        }
        let selected = match identity.select(&request) {
            Ok(selected) => selected,
            Err(error) => {
                self.release_readiness();
                return ResponseFuture::not_sent(error);
            }
        };
        if TokenValidFor::from_extensions(request.extensions()).is_none()
            && let Some(token) = identity.refresher(&selected).current().usable()
        {
            let (request, in_flight) =
                Unsent::First(request).authorize(token, &self.context, &selected, &self.inner);
            let future = self.inner.call(request);
            return ResponseFuture::slow_path(SlowPath::Called {
                future,
                in_flight: Some(in_flight),
            });
        }
        self.release_readiness();
        let sender =
            RequestSender { inner: self.inner.clone(), context: self.context.clone(), selected };
        ResponseFuture::slow_path(SlowPath::wait_for_token(Unsent::First(request), sender))
    }

    /// Releases the capacity that `poll_ready` reserved, so that the login can use it. A clone has reserved none.
    fn release_readiness(&mut self) {
        self.inner = self.inner.clone();
    }
}

impl<S: Clone> AuthRefresh<S> {
    /// Creates a service with the default settings.
    pub fn new(inner: S, refresher: AuthRefresher) -> Self {
        Self::with_config(inner, SingleIdentity { refresher }, Config::default())
    }
}
