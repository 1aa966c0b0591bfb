//! [`AuthRefreshLayer`]: where the token goes.

use tower_layer::Layer;
use tower_service::Service;

use super::{AuthRefresh, destination::Destinations};
use crate::{AccessToken, AuthRefresher, BoxError, LoginRequest};

/// Puts the current token of an [`AuthRefresher`] on each request, in the `Authorization` header.
///
/// A header of that name which the request has already is replaced. Services made by one layer, or by layers of clones of
/// one refresher, share its token.
///
/// Tokens go to `https`, and in plain text to the loopback only; see [`allow_plain_text`](Self::allow_plain_text).
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
#[derive(Clone, Debug)]
pub struct AuthRefreshLayer {
    refresher: AuthRefresher,
    destinations: Destinations,
}

impl AuthRefreshLayer {
    /// A layer that uses `refresher`'s token.
    pub fn new(refresher: AuthRefresher) -> Self {
        Self { refresher, destinations: Destinations::default() }
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

    /// Lets tokens go in plain text to any host, and to URIs without scheme or host. Not allowed by default.
    ///
    /// For networks whose encryption is done elsewhere (a service mesh), and for inner services that get requests in
    /// origin form (RFC 9112, section 3.2.1), as those below a connection pool do.
    #[must_use]
    pub fn allow_plain_text(mut self, allow: bool) -> Self {
        self.destinations = Destinations { plain_text: allow };
        self
    }
}

impl<S> Layer<S> for AuthRefreshLayer {
    type Service = AuthRefresh<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthRefresh::new(inner, self.refresher.clone(), self.destinations)
    }
}
