//! [`DeviceLogin`]: the login of a person on another device.

use std::fmt;

use super::{
    client::{Client, REQUEST_TIMEOUT},
    device_authorization::DeviceAuthorization,
    device_response::DeviceResponse,
    endpoints::StartsAt,
    error_kind::NativeAppErrorKind,
    time_limit::{TimeLimit, check_runtime},
};
use crate::{
    oauth2::{
        AuthorizationServer, ClientAuthentication, OAuth2Error, error_kind::Kind,
        token_response::read_fields,
    },
    transport::{HttpService, Received, Transport, TransportConfig, TransportFuture},
};

/// Logs in a person on any device with a browser: the device authorization grant (RFC 8628).
///
/// It is for machines without a browser, such as those at the other end of an SSH connection. See the [module](super) for
/// all steps.
///
#[cfg_attr(feature = "http-client", doc = "```no_run")]
#[cfg_attr(not(feature = "http-client"), doc = "```ignore")]
/// use tower_auth_refresh::{
///     http_client::HttpClient,
///     oauth2::{AuthorizationServer, ClientAuthentication, native_app::DeviceLogin},
/// };
///
/// # async fn log_in() -> Result<(), tower::BoxError> {
/// let http = HttpClient::builder().build()?;
/// let server = AuthorizationServer::discover("https://login.example.com")?;
/// let login = DeviceLogin::new(http, server, ClientAuthentication::public("orders-cli"))
///     .scope("openid offline_access")
///     .start()
///     .await?;
/// println!("Open {} and enter the code {}", login.verification_uri(), login.user_code());
/// let tokens = login.wait().await?;
/// # let _ = tokens;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "DeviceCodeCredential")]
#[doc(alias = "DeviceFlow")]
pub struct DeviceLogin<S> {
    client: Client<S>,
}

impl<S> DeviceLogin<S> {
    /// Creates a login at `server` for `client`, which usually is [public](ClientAuthentication::public). `http` sends
    /// the requests of the client.
    pub fn new(http: S, server: AuthorizationServer, client: ClientAuthentication) -> Self {
        let transport = Transport::new(http, REQUEST_TIMEOUT);
        Self { client: Client::new(transport, server, client) }
    }

    /// Sets the scopes of the tokens, separated by spaces (RFC 6749, section 3.3). Defaults to the server's choice.
    ///
    /// Many servers issue a refresh token for the scope `offline_access` only.
    #[must_use]
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.parameter("scope", scope)
    }

    /// Sets another parameter of the request that starts the login, such as `audience` or `resource`.
    ///
    /// The last value of a name counts; `audience` and `resource` can have several values. The parameters of the client
    /// (`client_id`, …) replace a parameter of the same name.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.client.add_parameter(name, value);
        self
    }

    /// Sets the limits of each request. Defaults as for [`OAuth2Login`](crate::oauth2::OAuth2Login::transport_config).
    #[must_use]
    pub fn transport_config(mut self, config: TransportConfig) -> Self {
        self.client.set_transport_config(config);
        self
    }
}

impl<S: HttpService> DeviceLogin<S> {
    /// Starts a login: reads the server's metadata, and requests the codes.
    ///
    /// # Errors
    ///
    /// - The server's metadata cannot be read, or does not name the endpoints.
    /// - The server rejected the request.
    /// - The response is invalid. In particular, the page is neither `https` nor on the loopback, or the code of the
    ///   person is not printable.
    /// - The future is not polled in a tokio runtime.
    ///
    /// # Panics
    ///
    /// The future panics in a tokio runtime whose time is not enabled.
    pub fn start(self) -> TransportFuture<DeviceAuthorization<S>, OAuth2Error> {
        TransportFuture::new(self.run())
    }

    async fn run(self) -> Result<DeviceAuthorization<S>, OAuth2Error> {
        let Self { mut client } = self;
        check_runtime().map_err(|kind| OAuth2Error::new("device login", Kind::NativeApp(kind)))?;
        let (form, plaintext) = (client.form(), client.server.plaintext);
        let endpoints = client.endpoints(StartsAt::DeviceAuthorizationEndpoint).await?;
        let read = |received: Received, secrets: &[&str]| {
            let invalid =
                |cause| Kind::NativeApp(NativeAppErrorKind::InvalidDeviceAuthorization(cause));
            let (fields, error) = read_fields(received, secrets).map_err(|kind| match kind {
                Kind::InvalidResponse(cause) => invalid(cause),
                kind => kind,
            })?;
            match error {
                Some(error) => Err(error),
                None => DeviceResponse::read(&fields, &endpoints.start, plaintext).map_err(invalid),
            }
        };
        let request = client.post(&endpoints.start, &endpoints.audience, form, &[], read);
        let response = request.await?;
        let time = TimeLimit::new(response.lifetime, client.now());
        Ok(DeviceAuthorization { client, endpoints, response, time })
    }
}

impl<S> fmt::Debug for DeviceLogin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceLogin").field("client", &self.client).finish()
    }
}
