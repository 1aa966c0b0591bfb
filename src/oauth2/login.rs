//! [`OAuth2Login`]: the login service.

use std::{
    fmt,
    panic::resume_unwind,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tower_service::Service;

use super::{
    AuthorizationServer, ClientAuthentication, Grant, OAuth2Error,
    discovery::Discovery,
    error_kind::Kind,
    grant,
    login_attempt::{LoginAttempt, LoginState},
    rotation::RotationState,
    server_clock::ServerClock,
    token_response::ResponseSettings,
};
use crate::{
    AccessToken, LoginError, LoginRequest,
    login::current::spawn_in_login,
    transport::{HttpService, Transport, TransportConfig, TransportFuture},
};

// Less than the default `wait_timeout`, so that the first caller also gets the cause.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Requests tokens from an OAuth 2 authorization server, as a login service. See the [module](super).
///
/// Clones share the refresh token and the discovered metadata.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, service_fn};
/// use tower_auth_refresh::{
///     AuthRefresher,
///     oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // Any HTTP service, such as `http_client::HttpClient`.
/// let http = service_fn(|request: Request<Full<Bytes>>| async move {
///     assert_eq!(request.uri(), "https://login.example.com/token");
///     let granted = r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600}"#;
///     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(granted)))
/// });
/// let server = AuthorizationServer::token_endpoint("https://login.example.com/token")?;
/// let client = ClientAuthentication::client_secret_basic("orders", "swordfish");
/// let login = OAuth2Login::new(http, server, client, Grant::client_credentials());
/// assert_eq!(AuthRefresher::new(login).token().await?.header_value(), "Bearer abc");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A [`LoginError`] whose [`cause`](LoginError::cause) is the [`OAuth2Error`]. It is [permanent](OAuth2Error::is_permanent) or transient, and
/// has the server's `Retry-After`.
///
/// # Cancellation
///
/// Dropping a login cancels it, except a grant by refresh token. Such a grant continues in its own task until it ends
/// or the runtime shuts down. Its response can contain the only copy of the next refresh token. The next login waits
/// for that grant.
#[derive(Clone)]
#[doc(alias = "TokenSource")]
#[doc(alias = "TokenProvider")]
#[doc(alias = "CredentialProvider")]
pub struct OAuth2Login<S> {
    transport: Transport<S>,
    server: AuthorizationServer,
    client: ClientAuthentication,
    response: ResponseSettings,
    state: Arc<Mutex<LoginState>>,
}

impl<S> OAuth2Login<S> {
    /// Creates a login at `server`, by `grant`, for `client`. `http` sends the requests.
    pub fn new(
        http: S,
        server: AuthorizationServer,
        client: ClientAuthentication,
        grant: Grant,
    ) -> Self {
        let state = LoginState {
            grant,
            discovery: Discovery::default(),
            rotation: RotationState::default(),
            server_clock: ServerClock::default(),
        };
        let transport = Transport::new(http, TIMEOUT);
        let state = Arc::new(Mutex::new(state));
        Self { transport, server, client, response: ResponseSettings::default(), state }
    }

    /// Sets the limits of each request, and the local clock. Defaults to a timeout of 8 seconds, a response body of at
    /// most 1 MiB, and [`SystemClock`](crate::SystemClock).
    ///
    /// A login sends at most six requests: two for the metadata, and four for the token. It repeats the token request if
    /// another process has rotated the refresh token. It also repeats each of these two requests once if the server
    /// rejects the assertion and has another time. The timeout also applies to each step of a [store](super::RefreshTokenStore), and to each login
    /// service that returns a credential.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use tower::{BoxError, service_fn};
    /// # use tower_auth_refresh::oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login};
    /// use std::time::Duration;
    /// use tower_auth_refresh::transport::TransportConfig;
    ///
    /// # fn main() -> Result<(), BoxError> {
    /// # let http = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
    /// # let server = AuthorizationServer::token_endpoint("https://login.example.com/token")?;
    /// # let client = ClientAuthentication::public("orders");
    /// let login = OAuth2Login::new(http, server, client, Grant::client_credentials())
    ///     .transport_config(TransportConfig::new().timeout(Duration::from_secs(5)));
    /// # let _ = login;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "timeout")]
    #[doc(alias = "body_limit")]
    #[doc(alias = "clock")]
    pub fn transport_config(mut self, config: TransportConfig) -> Self {
        self.transport.config = config;
        self
    }

    /// Sets whether the token is the response's `id_token` and not its `access_token`. Defaults to `false`.
    ///
    /// Some services accept ID tokens only, such as Cloud Run and Identity-Aware Proxy. The token lives until its own
    /// `exp`.
    #[must_use]
    pub fn use_id_token(mut self, enabled: bool) -> Self {
        self.response.use_id_token = enabled;
        self
    }

    /// Accepts another token type in addition to `Bearer`. The layer also sends such a token as a bearer token. Upper
    /// and lower case are equal.
    ///
    /// Some servers use another name, such as `BearerToken`, or `N_A` after a token exchange (RFC 8693, section 2.2.1).
    #[must_use]
    pub fn accept_token_type(mut self, token_type: impl Into<String>) -> Self {
        self.response.token_types.push(token_type.into());
        self
    }

    /// Sets a hook for the fields of each token response that returns a token, such as Salesforce's `instance_url`.
    /// Defaults to none.
    ///
    /// The fields do not include the tokens. The login saves the next refresh token before it calls the hook. If the
    /// hook panics, the login fails.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use tower::{BoxError, service_fn};
    /// use std::sync::{Arc, OnceLock};
    /// # use tower_auth_refresh::{AuthRefresher, oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let http = service_fn(|_: Request<Full<Bytes>>| async {
    /// #     let granted = r#"{"access_token":"abc","instance_url":"https://eu1.example.com"}"#;
    /// #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(granted)))
    /// # });
    /// # let server = AuthorizationServer::token_endpoint("https://login.example.com/token")?;
    /// # let login = OAuth2Login::new(http, server, ClientAuthentication::public("orders"), Grant::client_credentials());
    /// let instance = Arc::new(OnceLock::new());
    /// let seen = instance.clone();
    /// let login = login.inspect_response(move |fields| {
    ///     if let Some(url) = fields.get("instance_url").and_then(|url| url.as_str()) {
    ///         let _ = seen.set(url.to_owned());
    ///     }
    /// });
    /// AuthRefresher::new(login).ready().await?;
    /// assert_eq!(instance.get().unwrap(), "https://eu1.example.com");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "extra_fields")]
    pub fn inspect_response(
        mut self,
        hook: impl Fn(&Map<String, Value>) + Send + Sync + 'static,
    ) -> Self {
        self.response.inspect = Some(Arc::new(hook));
        self
    }
}

impl<S: HttpService> Service<LoginRequest> for OAuth2Login<S> {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = TransportFuture<AccessToken, LoginError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        let mut attempt = LoginAttempt {
            transport: self.transport.clone(),
            server: self.server.clone(),
            client: self.client.clone(),
            response: self.response.clone(),
            request,
        };
        let state = self.state.clone();
        TransportFuture::new(async move {
            let mut state = state.lock_owned().await;
            let store = match &state.grant.kind {
                grant::Kind::RefreshToken(store) => store.clone(),
                _ => return Ok(attempt.log_in(&mut state).await?),
            };
            let refreshing =
                spawn_in_login(async move { attempt.refresh(&mut state, &*store).await });
            match refreshing.await {
                Ok(refreshed) => Ok(refreshed?),
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => {
                        Err(OAuth2Error::new("grant_type refresh_token", Kind::Interrupted).into())
                    }
                },
            }
        })
    }
}

impl<S> fmt::Debug for OAuth2Login<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Login")
            .field("server", &self.server)
            .field("client", &self.client)
            .field("transport", &self.transport)
            .field("response", &self.response)
            .finish_non_exhaustive()
    }
}
