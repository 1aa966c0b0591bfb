//! [`AuthorizationCodeLogin`]: the login of a person in a browser on the same machine.

use std::{fmt, time::Duration};

use super::{
    authorization_request::AuthorizationRequest,
    client::{Client, REQUEST_TIMEOUT},
    endpoints::StartsAt,
    error_kind::NativeAppErrorKind,
    listener::Listener,
    redirect::RedirectCheck,
    redirect_uri::{InvalidRedirectUri, RedirectUri},
    secrets::{CodeVerifier, State},
    time_limit::{TimeLimit, check_runtime},
};
use crate::{
    oauth2::{
        AuthorizationServer, ClientAuthentication, OAuth2Error, error_kind::Kind,
        form_request::with_query,
    },
    transport::{HttpService, Transport, TransportConfig, TransportFuture},
};

const TIME_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Logs in a person with a browser on the same machine: the authorization code grant with PKCE (RFC 6749, section 4.1;
/// RFC 7636; RFC 8252).
///
/// The browser returns to a listener on the loopback. On a machine without a browser, use a
/// [`DeviceLogin`](super::DeviceLogin). See the [module](super) for all steps.
///
#[cfg_attr(feature = "http-client", doc = "```no_run")]
#[cfg_attr(not(feature = "http-client"), doc = "```ignore")]
/// use tower_auth_refresh::{
///     http_client::HttpClient,
///     oauth2::{AuthorizationServer, ClientAuthentication, native_app::AuthorizationCodeLogin},
/// };
///
/// # async fn log_in() -> Result<(), tower::BoxError> {
/// let http = HttpClient::builder().build()?;
/// let server = AuthorizationServer::discover("https://login.example.com")?;
/// let login = AuthorizationCodeLogin::new(http, server, ClientAuthentication::public("orders-cli"))
///     .scope("openid offline_access")
///     .start()
///     .await?;
/// println!("Open this page to log in: {}", login.url());
/// let tokens = login.wait().await?;
/// # let _ = tokens;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "PKCE")]
#[doc(alias = "InstalledFlow")]
pub struct AuthorizationCodeLogin<S> {
    client: Client<S>,
    redirect_uri: RedirectUri,
    time_limit: Duration,
}

impl<S> AuthorizationCodeLogin<S> {
    /// Creates a login at `server` for `client`, which usually is [public](ClientAuthentication::public). `http` sends
    /// the requests of the client.
    pub fn new(http: S, server: AuthorizationServer, client: ClientAuthentication) -> Self {
        let transport = Transport::new(http, REQUEST_TIMEOUT);
        let client = Client::new(transport, server, client);
        Self { client, redirect_uri: RedirectUri::default(), time_limit: TIME_LIMIT }
    }

    /// Sets the scopes of the tokens, separated by spaces (RFC 6749, section 3.3). Defaults to the server's choice.
    ///
    /// Many servers issue a refresh token for the scope `offline_access` only, and only with the person's consent: set the
    /// [parameter](Self::parameter) `prompt` to `consent` then (OpenID Connect Core 1.0, section 11).
    #[must_use]
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.parameter("scope", scope)
    }

    /// Sets another parameter of the URL that the person opens, such as `prompt`, `login_hint` or `resource`.
    ///
    /// The last value of a name counts; `audience` and `resource` can have several values. The parameters of the grant
    /// and the client (`response_type`, `client_id`, …) replace a parameter of the same name.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.client.add_parameter(name, value);
        self
    }

    /// Sets the redirect URI as it is registered at the server. Defaults to `http://127.0.0.1/callback`.
    ///
    /// The host is an address of the loopback, or `localhost` for servers that accept nothing else. Without a port, the
    /// operating system chooses a free one. RFC 8252, section 7.3, requires servers to accept any port. If yours does
    /// not, register a fixed port and set it here.
    ///
    /// # Errors
    ///
    /// The URI is not plain `http` to the loopback, or has a query, a fragment or a user name.
    pub fn redirect_uri(mut self, uri: &str) -> Result<Self, InvalidRedirectUri> {
        self.redirect_uri = RedirectUri::parse(uri)?;
        Ok(self)
    }

    /// Sets how long the person has to log in, from [`start`](Self::start). Defaults to 5 minutes.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets the limits of each request of the client. Defaults as for
    /// [`OAuth2Login`](crate::oauth2::OAuth2Login::transport_config).
    #[must_use]
    pub fn transport_config(mut self, config: TransportConfig) -> Self {
        self.client.set_transport_config(config);
        self
    }
}

impl<S: HttpService> AuthorizationCodeLogin<S> {
    /// Starts a login: reads the server's metadata, and opens the listener for the redirect.
    ///
    /// Each login has its own `state`, code verifier and listener. Clone the settings to start another one.
    ///
    /// # Errors
    ///
    /// - The server's metadata cannot be read, or does not name the endpoints.
    /// - The server does not support PKCE with `S256`.
    /// - The listener's port is in use.
    /// - The future is not polled in a tokio runtime.
    ///
    /// # Panics
    ///
    /// The future panics in a tokio runtime whose time is not enabled, if it reads metadata.
    pub fn start(self) -> TransportFuture<AuthorizationRequest<S>, OAuth2Error> {
        TransportFuture::new(self.run())
    }

    async fn run(self) -> Result<AuthorizationRequest<S>, OAuth2Error> {
        let Self { mut client, redirect_uri, time_limit } = self;
        let failed = |kind| OAuth2Error::new("login in the browser", Kind::NativeApp(kind));
        check_runtime().map_err(failed)?;
        let endpoints = client.endpoints(StartsAt::AuthorizationEndpoint).await?;
        let bound = Listener::bind(redirect_uri.address());
        let (listener, port) =
            bound.map_err(|error| failed(NativeAppErrorKind::Listener(error)))?;
        let path = redirect_uri.request_path().to_owned();
        let redirect_uri = redirect_uri.with_port(port);
        let verifier = CodeVerifier::new().map_err(failed)?;
        let state = State::new().map_err(failed)?;

        let mut form = client.form();
        form.push("response_type", "code");
        form.push("client_id", client.id());
        form.push("redirect_uri", &redirect_uri);
        form.push("state", state.secret());
        form.push("code_challenge", &verifier.challenge());
        form.push("code_challenge_method", "S256");
        let url = with_query(&endpoints.start, &form);
        let time = TimeLimit::new(time_limit, client.now());
        let check = RedirectCheck { path, state, issuer: endpoints.issuer.clone() };
        Ok(AuthorizationRequest {
            client,
            endpoints,
            listener,
            check,
            verifier,
            url,
            redirect_uri,
            time,
        })
    }
}

impl<S> fmt::Debug for AuthorizationCodeLogin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationCodeLogin")
            .field("client", &self.client)
            .field("redirect_uri", &self.redirect_uri)
            .field("time_limit", &self.time_limit)
            .finish()
    }
}
