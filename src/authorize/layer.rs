//! [`AuthRefreshLayer`]: where the token goes.

use http::HeaderName;
use tower_layer::Layer;
use tower_service::Service;

use super::{AuthRefresh, ClassifyRejection, InvalidOrigin, NeverReplay, Unauthorized, rules::Rules};
use crate::{AccessToken, AuthRefresher, BoxError, LoginRequest};

/// Puts the current token of an [`AuthRefresher`] on each request, in the `Authorization` header.
///
/// Services made by one layer, or by layers of clones of one refresher, share its token. By default:
///
/// * A header of that name which the request has already is [replaced](Self::keep_existing).
/// * Tokens go to `https`, and in plain text to the loopback [only](Self::allow_plain_text); which origins is
///   [not limited](Self::allow_origin) otherwise. What counts is the request's URI: a client below that uses a proxy, perhaps
///   one of the environment, sends it there.
/// * A response of 401 means that the token [was rejected](Self::reject_on): the next request has a newer one. The rejected
///   request is [not sent again](Self::replay).
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
/// # In a stack
///
/// It works above and below tower's layers; what differs is this. What is below must be `Clone`: above a `RateLimit` or a
/// `Balance`, which are not, put a `Buffer` between.
///
/// | layer | above this one (outside) | below this one (inside) |
/// | --- | --- | --- |
/// | `Retry` | each try has the token of its time, and may be replayed once: **the usual place** | tries again with the same token; a rejection is replayed once for all tries |
/// | `Timeout` | limits the whole call; a login that it waits for goes on without it | limits each sending, and not the wait for a token |
/// | `Buffer`, `ConcurrencyLimit`, `LoadShed` | a call that waits for a token keeps its slot | a call that waits for a token has no slot, so that the login may use the same: **the usual place** |
/// | `FollowRedirect` | each hop is checked, and gets a token if it may: **the usual place** | the client's own rules decide what becomes of the header; one of [another name](Self::header) is not known to them |
/// | `Trace` | do not see the token | see it, marked sensitive |
/// | `Balance`, `ReadyCache` | choose among clients that share a token | choose among connections, below a `Buffer` |
#[derive(Clone, Debug)]
pub struct AuthRefreshLayer<P = NeverReplay, C = Unauthorized> {
    refresher: AuthRefresher,
    rules: Rules<P, C>,
}

impl AuthRefreshLayer {
    /// A layer that uses `refresher`'s token.
    pub fn new(refresher: AuthRefresher) -> Self {
        Self { refresher, rules: Rules::default() }
    }

    /// The short form, for a refresher with the default settings.
    pub fn with_login<L>(login: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::new(AuthRefresher::new(login))
    }
}

impl<P, C> AuthRefreshLayer<P, C> {
    /// Whether, and how, a request whose token is rejected is sent once more with a newer one.
    /// [Never](NeverReplay) by default; [`ReplayClone`](crate::ReplayClone) for bodies that can be cloned.
    ///
    /// The call waits for the newer token with the rejection in hand. If none comes, or the body cannot be sent again, the
    /// caller gets that, untouched. Once the request is on its way again, what comes of that is the call's outcome, be it
    /// an error. Of two such layers, one above the other, each replays once.
    #[must_use]
    pub fn replay<Q>(self, policy: Q) -> AuthRefreshLayer<Q, C> {
        AuthRefreshLayer { refresher: self.refresher, rules: self.rules.with_replay(policy) }
    }

    /// What tells that a token was rejected: [401](Unauthorized) by default;
    /// [`GrpcUnauthenticated`](crate::GrpcUnauthenticated), [`NeverRejected`](crate::NeverRejected), or any function of
    /// status and headers.
    ///
    /// A rejected token is used no more, and a login is under way at once (unless the last handle of the refresher is gone:
    /// a call on its way keeps none, but for one that may be [replayed](Self::replay)). How often that may be is limited by
    /// [`AuthRefresherBuilder::rejections`](crate::AuthRefresherBuilder::rejections).
    #[must_use]
    pub fn reject_on<D: ClassifyRejection>(self, classify: D) -> AuthRefreshLayer<P, D> {
        AuthRefreshLayer { refresher: self.refresher, rules: self.rules.with_classify(classify) }
    }

    /// Lets tokens go in plain text to any host, and to URIs without scheme or host. Not allowed by default.
    ///
    /// For networks whose encryption is done elsewhere (a service mesh), and for inner services that get requests in
    /// origin form (RFC 9112, section 3.2.1), as those below a connection pool do.
    #[must_use]
    pub fn allow_plain_text(mut self, allow: bool) -> Self {
        self.rules.placement.destinations.plain_text = allow;
        self
    }

    /// Narrows the origins that tokens go to: from any, to those named by calls of this. An origin is a scheme, a host and
    /// perhaps a port (RFC 6454), as in `https://api.example.com:8443`.
    ///
    /// # Errors
    ///
    /// This is no origin.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        self.rules.placement.destinations.allow(origin.parse()?);
        Ok(self)
    }

    /// Whether requests to where tokens may not go are sent without one. By default they are not sent, and the call fails
    /// with [`Error::Refused`](crate::Error::Refused).
    #[must_use]
    pub fn send_unauthenticated_elsewhere(mut self, on: bool) -> Self {
        self.rules.placement.destinations.pass_on = on;
        self
    }

    /// Whether a request that has the header already keeps it, and is sent without a token. By default the token takes its
    /// place.
    #[must_use]
    pub fn keep_existing(mut self, keep: bool) -> Self {
        self.rules.placement.keep_existing = keep;
        self
    }

    /// The header that the token is put in. `Authorization` by default.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.rules.placement.set_header(name);
        self
    }

    /// Whether responses tell which token was sent: a [`TokenInfo`](crate::TokenInfo) in their extensions. Not by default,
    /// since it costs an allocation.
    #[must_use]
    pub fn token_info(mut self, on: bool) -> Self {
        self.rules.tell = on;
        self
    }
}

impl<S, P: Clone, C: Clone> Layer<S> for AuthRefreshLayer<P, C> {
    type Service = AuthRefresh<S, P, C>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthRefresh::new(inner, self.refresher.clone(), self.rules.clone())
    }
}
