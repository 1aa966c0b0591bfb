//! [`AuthRefreshLayer`]: the settings of an `AuthRefresh` service, as a layer.

use http::{HeaderMap, HeaderName, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    classify::{ClassifyRejection, UnauthorizedAsRejection},
    config::Config,
    destination::DestinationPolicy,
    identity::{IdentityPolicy, SingleIdentity},
    origin::{InvalidOrigin, Origin},
    replay::policy::NeverReplay,
    service::AuthRefresh,
};
use crate::{AccessToken, AuthRefresher, error::BoxError, login::LoginRequest};

/// Sets the current token of an [`AuthRefresher`] on each request, in the `Authorization` header.
///
/// All services of a layer use one token. Layers whose refreshers are clones of each other share one token too. A layer
/// for many identities has one token for each key (`AuthRefreshLayer::keyed`, feature `keyed`). By default:
///
/// - The token [replaces](Self::if_not_present) an existing header of the same name.
/// - Tokens go to `https`, and in plaintext to the loopback [only](Self::allow_plaintext). Any `https` origin is
///   allowed, [unless](Self::allow_origin) the layer has a list. The layer checks the request's URI, not a proxy that
///   the client uses.
/// - A response of 401 [rejects the token](Self::reject_on), and a login starts. The next request waits for the newer
///   token. The caller gets the response, because the request is [not replayed](Self::replay).
///
/// ```
/// use http::{Request, Response, header::AUTHORIZATION};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, LoginRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let login = service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") });
/// let client = ServiceBuilder::new()
///     .layer(AuthRefreshLayer::with_login(login))
///     .service_fn(|request: Request<()>| async move {
///         Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
///     });
///
/// let request = Request::get("https://api.example.com/").body(())?;
/// assert_eq!(client.oneshot(request).await?.body(), "Bearer abc");
/// # Ok(())
/// # }
/// ```
///
/// # Place in the stack
///
/// The layer works above and below tower's layers. The table shows the effect of the order.
///
/// | layer | above this one (outside) | below this one (inside) |
/// | --- | --- | --- |
/// | `Retry` | every attempt uses the current token, and can be replayed once: **the usual place** | every attempt uses the same token; the request is replayed once in total, not once for each attempt |
/// | `Timeout` | limits the whole call; a login that the call waits for continues | limits each attempt, but not the wait for a token |
/// | `Buffer`, `ConcurrencyLimit`, `LoadShed` | a call that waits for a token occupies a slot | a call that waits for a token occupies no slot, so the login can use it: **the usual place** |
/// | `FollowRedirect` | the layer checks each hop, and sets the token if the destination is allowed: **the usual place** | the client's redirect policy decides whether the header is forwarded; it does not know a header of [another name](Self::header) |
/// | `Trace` | does not see the token | sees the token, marked sensitive |
/// | `Balance`, `ReadyCache` | selects among clients that share a token | selects among connections; needs a `Buffer` between, because it is not `Clone` |
///
/// The service below the layer must be `Clone`. `RateLimit`, `Balance` and `BoxService` are not, so this does not
/// compile:
///
/// ```compile_fail
/// # use std::time::Duration;
/// # use tower::{BoxError, ServiceBuilder};
/// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, login_fn};
/// # let layer = AuthRefreshLayer::with_login(login_fn(|_| async { Ok(AccessToken::bearer("abc")?) }));
/// let client = ServiceBuilder::new()
///     .layer(layer)
///     .rate_limit(100, Duration::from_secs(1))
///     .service_fn(|_: http::Request<()>| async { Ok::<_, BoxError>(http::Response::new(())) });
/// ```
///
/// Put a `BufferLayer` between them. Its handles are `Clone`, and share the service:
///
/// ```
/// # use std::time::Duration;
/// # use tower::{BoxError, ServiceBuilder};
/// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, login_fn};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let layer = AuthRefreshLayer::with_login(login_fn(|_| async { Ok(AccessToken::bearer("abc")?) }));
/// let client = ServiceBuilder::new()
///     .layer(layer)
///     .buffer(16) // `layer(BufferLayer::new(16))`
///     .rate_limit(100, Duration::from_secs(1))
///     .service_fn(|_: http::Request<()>| async { Ok::<_, BoxError>(http::Response::new(())) });
/// # let _ = client;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AuthRefreshLayer<P = NeverReplay, C = UnauthorizedAsRejection, I = SingleIdentity> {
    identity: I,
    config: Config<P, C>,
}

impl AuthRefreshLayer {
    /// Creates a layer with the default settings, which uses the token of `refresher`.
    pub fn new(refresher: AuthRefresher) -> Self {
        Self { identity: SingleIdentity { refresher }, config: Config::default() }
    }

    /// Creates a layer with a new refresher that has the default settings.
    pub fn with_login<L>(login: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(AuthRefresher::new(login))
    }
}

impl<P, C, I> AuthRefreshLayer<P, C, I> {
    /// Sets how the layer replays a request after a rejection, with a newer token. Defaults to [`NeverReplay`].
    ///
    /// [`ReplayClone`](crate::ReplayClone) is for bodies that can be cloned, `ReplayBuffered` is for streams, and
    /// [`ReplayWith`](crate::ReplayWith) is for bodies with a `try_clone`.
    ///
    /// - While the call waits for a newer token, it retains the rejected response. If there is no newer token, or if
    ///   the body cannot be replayed, the caller gets that response unchanged.
    /// - A rejection does not count, and causes no replay, if the token is too new
    ///   ([`min_rejection_age`](crate::AuthRefresherBuilder::min_rejection_age)).
    /// - The result of the replay is the call's result, even if it is an error.
    /// - If two such layers are stacked, each replays once.
    ///
    /// ```
    /// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, ReplayClone, login_fn};
    /// # let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
    /// let layer = AuthRefreshLayer::with_login(login).replay(ReplayClone);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn replay<Q>(self, policy: Q) -> AuthRefreshLayer<Q, C, I> {
        AuthRefreshLayer { identity: self.identity, config: self.config.with_replay(policy) }
    }

    /// Sets which responses reject the token. Defaults to [`UnauthorizedAsRejection`] (status 401). Alternatives are
    /// [`GrpcUnauthenticatedAsRejection`](crate::GrpcUnauthenticatedAsRejection), [`NeverReject`](crate::NeverReject),
    /// and any function of status and headers ([`reject_when`](Self::reject_when)).
    ///
    /// After a rejection, the token is no longer used and a login starts.
    /// [`AuthRefresherBuilder::rejection_limit`](crate::AuthRefresherBuilder::rejection_limit) limits how many
    /// rejections count. If the last handle has been dropped, a rejection has no effect. A call in flight counts as a
    /// handle only if it can be [replayed](Self::replay).
    #[must_use]
    pub fn reject_on<D: ClassifyRejection>(self, classify: D) -> AuthRefreshLayer<P, D, I> {
        AuthRefreshLayer { identity: self.identity, config: self.config.with_classify(classify) }
    }

    /// Sets which responses reject the token, as [`reject_on`](Self::reject_on) does. A closure needs no type
    /// annotations.
    ///
    /// ```
    /// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, login_fn};
    /// # let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
    /// let layer = AuthRefreshLayer::with_login(login)
    ///     .reject_when(|status, headers| status == 401 || headers.contains_key("x-token-expired"));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn reject_when<F>(self, is_rejection: F) -> AuthRefreshLayer<P, F, I>
    where
        F: Fn(StatusCode, &HeaderMap) -> bool,
    {
        self.reject_on(is_rejection)
    }

    /// Sets the origin that the layer assumes for requests whose URI has neither a scheme nor an authority. Defaults to
    /// none: such requests fail.
    ///
    /// Some clients know their server, and send only a path through the stack, such as kube, octocrab and the clients
    /// that tonic generates. The layer uses the origin for the destination check only. It neither changes the URI nor
    /// sets the header `Origin`: the inner service decides where the request goes.
    ///
    /// - The inner service must not choose the server by the request's `Host` header.
    /// - A path that starts with `//` has no origin, because some clients parse it as an authority (RFC 3986, section
    ///   4.2).
    ///
    /// ```
    /// # use tower::{BoxError, ServiceBuilder, ServiceExt};
    /// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, login_fn};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
    /// let client = ServiceBuilder::new()
    ///     .layer(AuthRefreshLayer::with_login(login).origin("https://cluster.example.com")?)
    ///     .service_fn(|request: http::Request<()>| async move {
    ///         assert_eq!(request.headers()["authorization"], "Bearer abc");
    ///         Ok::<_, BoxError>(http::Response::new(()))
    ///     });
    /// client.oneshot(http::Request::get("/api/v1/pods").body(())?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The argument is not an [`Origin`].
    pub fn origin<O>(mut self, origin: O) -> Result<Self, InvalidOrigin>
    where
        O: TryInto<Origin, Error: Into<InvalidOrigin>>,
    {
        self.config.header.destinations.origin = Some(origin.try_into().map_err(Into::into)?);
        Ok(self)
    }

    /// Allows an origin to receive the token. Without a call, tokens go to any origin. After the first call, they go
    /// only to the allowed ones.
    ///
    /// The layer compares scheme, host and port, not the spelling of the URI. A request without scheme and authority
    /// has the [origin](Self::origin) of the layer. This method has no relation to CORS.
    ///
    /// ```
    /// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, InvalidOrigin, login_fn};
    /// # let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
    /// let layer = AuthRefreshLayer::with_login(login)
    ///     .allow_origin("https://api.example.com")?
    ///     .allow_origin(http::Uri::from_static("https://files.example.com:8443"))?;
    /// # let _ = layer;
    /// # Ok::<(), InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The argument is not an [`Origin`], or it contains a wildcard.
    pub fn allow_origin<O>(mut self, origin: O) -> Result<Self, InvalidOrigin>
    where
        O: TryInto<Origin, Error: Into<InvalidOrigin>>,
    {
        self.config.header.destinations.allow(origin.try_into().map_err(Into::into)?);
        Ok(self)
    }

    /// Sets whether the layer also sends tokens in plaintext to hosts other than the loopback, and to URIs without
    /// scheme or host. Defaults to `false`.
    ///
    /// Enable it for networks with their own encryption, such as a service mesh. For requests without scheme and host,
    /// set the [origin](Self::origin) instead.
    #[must_use]
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.config.header.destinations.allow_plaintext = allow;
        self
    }

    /// Sets what happens to a request whose destination is not allowed to receive the token. Defaults to
    /// [`DestinationPolicy::Fail`].
    #[must_use]
    pub fn destination_policy(mut self, policy: DestinationPolicy) -> Self {
        self.config.header.destination_policy = policy;
        self
    }

    /// Sets whether a request that already has the header is sent unchanged, without a token. Defaults to `false`: the
    /// token replaces the header.
    #[must_use]
    pub fn if_not_present(mut self, enabled: bool) -> Self {
        self.config.header.if_not_present = enabled;
        self
    }

    /// Sets the header that contains the token. Defaults to `Authorization`.
    ///
    /// ```
    /// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, login_fn};
    /// # let login = login_fn(|_| async { Ok(AccessToken::raw("abc")?) });
    /// let layer = AuthRefreshLayer::with_login(login).header(http::HeaderName::from_static("x-api-key"));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.config.header.set_name(name);
        self
    }

    /// Sets whether the extensions of each response contain a [`TokenInfo`](crate::TokenInfo). Defaults to `false`,
    /// because it allocates in each call.
    #[must_use]
    pub fn insert_token_info(mut self, enabled: bool) -> Self {
        self.config.insert_token_info = enabled;
        self
    }
}

#[cfg(feature = "keyed")]
impl<P, C, I> AuthRefreshLayer<P, C, I> {
    pub(crate) fn from_parts(identity: I, config: Config<P, C>) -> Self {
        Self { identity, config }
    }

    pub(crate) fn map_identity<J>(self, map: impl FnOnce(I) -> J) -> AuthRefreshLayer<P, C, J> {
        AuthRefreshLayer { identity: map(self.identity), config: self.config }
    }
}

/// The service has the bound `S: Clone` too. With the bound here, the compiler reports the error where the stack is
/// built.
impl<S: Clone, P: Clone, C: Clone, I: IdentityPolicy> Layer<S> for AuthRefreshLayer<P, C, I> {
    type Service = AuthRefresh<S, P, C, I>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthRefresh::with_config(inner, self.identity.clone(), self.config.clone())
    }
}

impl<S> AuthRefresh<S> {
    /// Creates a layer with the default settings, which uses the token of `refresher`.
    pub fn layer(refresher: AuthRefresher) -> AuthRefreshLayer {
        AuthRefreshLayer::new(refresher)
    }
}
