//! [`AuthorizationRequest`]: a login in a browser that waits for its redirect.

use std::{fmt, pin::Pin, time::Duration};

use tokio::time::Sleep;

use super::{
    client::Client, endpoints::Endpoints, error_kind::NativeAppErrorKind, listener::Listener,
    redirect::RedirectCheck, secrets::CodeVerifier, tokens::Tokens,
};
use crate::{
    oauth2::{OAuth2Error, error_kind::Kind, server::origin},
    transport::{HttpService, TransportFuture},
};

/// A login in a browser that has started: the URL to open, and the listener that waits for the redirect.
///
/// [`AuthorizationCodeLogin::start`](super::AuthorizationCodeLogin::start) returns it. Dropping it closes the listener.
/// `Debug` shows neither the URL nor the secrets.
///
/// ```
/// use tower_auth_refresh::{
///     oauth2::{OAuth2Error, native_app::{AuthorizationRequest, Tokens}},
///     transport::HttpService,
/// };
///
/// async fn finish(login: AuthorizationRequest<impl HttpService>) -> Result<Tokens, OAuth2Error> {
///     println!("Open this page to log in: {}", login.url());
///     login.wait().await
/// }
/// ```
#[must_use = "the login ends when this is dropped"]
pub struct AuthorizationRequest<S> {
    pub(super) client: Client<S>,
    pub(super) endpoints: Endpoints,
    pub(super) listener: Listener,
    pub(super) check: RedirectCheck,
    pub(super) verifier: CodeVerifier,
    pub(super) url: String,
    pub(super) redirect_uri: String,
    pub(super) timeout: Duration,
    pub(super) expiry: Pin<Box<Sleep>>,
}

impl<S> AuthorizationRequest<S> {
    /// Returns the URL that the person opens in a browser (RFC 6749, section 4.1.1).
    ///
    /// It contains ASCII characters only. Show it to the person alone: it contains the random `state` of this login.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the redirect URI, with the port of the listener.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }
}

impl<S: HttpService> AuthorizationRequest<S> {
    /// Waits until the person has logged in, and requests the tokens.
    ///
    /// The listener accepts one redirect: a GET of its path with the `state` of this login. Any other request gets an
    /// error page, and the login continues to wait. The listener closes before the tokens are requested.
    ///
    /// # Errors
    ///
    /// - The person or the server refused the login (RFC 6749, section 4.1.2.1): [`OAuth2Error::code`] has the reason,
    ///   such as `access_denied`.
    /// - The person did not log in within the [time limit](super::AuthorizationCodeLogin::timeout):
    ///   [`OAuth2Error::is_login_expired`].
    /// - The redirect is of another issuer (RFC 9207), or has no code.
    /// - The token request failed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the listener and ends the login.
    pub fn wait(self) -> TransportFuture<Tokens, OAuth2Error> {
        TransportFuture::new(self.receive())
    }

    async fn receive(self) -> Result<Tokens, OAuth2Error> {
        let Self { mut client, endpoints, listener, check, verifier, redirect_uri, .. } = self;
        let failed = |kind| {
            let endpoint = format!("{}{}", origin(&endpoints.start), endpoints.start.path());
            OAuth2Error::new(endpoint, Kind::NativeApp(kind))
        };
        let redirect = tokio::select! {
            biased;
            redirect = listener.receive(check) => redirect,
            () = self.expiry => return Err(failed(NativeAppErrorKind::Expired(self.timeout))),
        };
        let code = redirect.map_err(failed)?;
        let mut form = client.token_form("authorization_code");
        form.push("code", &code);
        form.push("redirect_uri", &redirect_uri);
        form.push("code_verifier", verifier.secret());
        client.request_tokens(&endpoints, form, &[&code, verifier.secret()]).await
    }
}

impl<S> fmt::Debug for AuthorizationRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRequest")
            .field("client", &self.client)
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}
