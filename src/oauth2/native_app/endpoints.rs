//! [`Endpoints`]: where a person logs in, and where the client requests the tokens.

use http::Uri;
use serde::Deserialize;
use serde_json::Value;

use super::error_kind::NativeAppErrorKind;
use crate::{
    oauth2::{
        AuthorizationServer, InvalidServer, OAuth2Error,
        discovery::{discover, endpoint},
        error_kind::Kind,
        server::{Source, validate_url},
    },
    transport::{HttpService, Transport},
};

impl AuthorizationServer {
    /// Sets the endpoint to which the browser of a person is sent (RFC 6749, section 3.1), in place of the metadata's.
    ///
    /// A [browser login](super::AuthorizationCodeLogin) at a server without metadata requires it.
    ///
    /// ```
    /// use tower_auth_refresh::oauth2::AuthorizationServer;
    ///
    /// let server = AuthorizationServer::token_endpoint("https://login.example.com/token")?
    ///     .authorization_endpoint("https://login.example.com/authorize")?;
    /// # Ok::<(), tower_auth_refresh::oauth2::InvalidServer>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`token_endpoint`](Self::token_endpoint). Plain `http` is accepted if it is for the other endpoints.
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth2-native-app")))]
    pub fn authorization_endpoint(mut self, url: &str) -> Result<Self, InvalidServer> {
        let (_, uri) = validate_url(url, self.plaintext).map_err(InvalidServer)?;
        self.authorization_endpoint = Some(uri);
        Ok(self)
    }

    /// Sets the endpoint that starts the login of a device (RFC 8628, section 3.1), in place of the metadata's.
    ///
    /// A [device login](super::DeviceLogin) requires it if the server has no metadata, or omits the endpoint there.
    ///
    /// ```
    /// use tower_auth_refresh::oauth2::AuthorizationServer;
    ///
    /// let server = AuthorizationServer::token_endpoint("https://github.com/login/oauth/access_token")?
    ///     .device_authorization_endpoint("https://github.com/login/device/code")?;
    /// # Ok::<(), tower_auth_refresh::oauth2::InvalidServer>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`token_endpoint`](Self::token_endpoint). Plain `http` is accepted if it is for the other endpoints.
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth2-native-app")))]
    pub fn device_authorization_endpoint(mut self, url: &str) -> Result<Self, InvalidServer> {
        let (_, uri) = validate_url(url, self.plaintext).map_err(InvalidServer)?;
        self.device_authorization_endpoint = Some(uri);
        Ok(self)
    }
}

/// How a person's login starts.
#[derive(Clone, Copy)]
pub(super) enum StartsAt {
    AuthorizationEndpoint,
    DeviceAuthorizationEndpoint,
}

/// The endpoints of one login.
pub(super) struct Endpoints {
    /// Where the login starts.
    pub(super) start: Uri,
    pub(super) token: Uri,
    /// The audience of assertions.
    pub(super) audience: String,
    /// `None` if the server has no metadata.
    pub(super) issuer: Option<Issuer>,
}

/// The issuer that an authorization response has to name.
#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) name: String,
    /// The metadata announces that each authorization response names the issuer (RFC 9207, section 3).
    pub(super) is_always_named: bool,
}

/// A field of another type than expected counts as missing, because this login may not require it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    token_endpoint: Value,
    authorization_endpoint: Value,
    device_authorization_endpoint: Value,
    authorization_response_iss_parameter_supported: Value,
    code_challenge_methods_supported: Value,
}

impl Metadata {
    /// Returns whether a code challenge with S256 is possible. Some servers that support it do not list it.
    fn may_support_s256(&self) -> bool {
        let methods = self.code_challenge_methods_supported.as_array();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "S256"))
    }
}

impl Endpoints {
    pub(super) async fn find<S: HttpService>(
        server: &AuthorizationServer,
        starts_at: StartsAt,
        transport: Transport<S>,
    ) -> Result<Self, OAuth2Error> {
        let (name, start) = match starts_at {
            StartsAt::AuthorizationEndpoint => {
                ("authorization_endpoint", &server.authorization_endpoint)
            }
            StartsAt::DeviceAuthorizationEndpoint => {
                ("device_authorization_endpoint", &server.device_authorization_endpoint)
            }
        };
        let issuer = match &server.source {
            Source::TokenEndpoint(token) => {
                let missing = || NativeAppErrorKind::MissingEndpoint(name);
                let start = start.clone().ok_or_else(|| {
                    OAuth2Error::new("authorization server", Kind::NativeApp(missing()))
                })?;
                let audience = token.to_string();
                return Ok(Self { start, token: token.clone(), audience, issuer: None });
            }
            Source::Issuer(issuer) => issuer,
        };
        let read = |metadata: Metadata| {
            let may_support_s256 = metadata.may_support_s256();
            let text = |value: Value| value.as_str().map(str::to_owned);
            let token = endpoint(server, issuer, "token_endpoint", text(metadata.token_endpoint))?;
            let stated = match starts_at {
                StartsAt::AuthorizationEndpoint if !may_support_s256 => {
                    return Err(Kind::NativeApp(NativeAppErrorKind::NoS256));
                }
                StartsAt::AuthorizationEndpoint => metadata.authorization_endpoint,
                StartsAt::DeviceAuthorizationEndpoint => metadata.device_authorization_endpoint,
            };
            let start = match start {
                Some(start) => start.clone(),
                None => endpoint(server, issuer, name, text(stated))?,
            };
            let is_always_named =
                metadata.authorization_response_iss_parameter_supported == Value::Bool(true);
            let issuer = Issuer { name: issuer.clone(), is_always_named };
            Ok(Self { start, token, audience: issuer.name.clone(), issuer: Some(issuer) })
        };
        discover(issuer, transport, read).await
    }
}
