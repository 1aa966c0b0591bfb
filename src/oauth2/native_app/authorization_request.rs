//! [`AuthorizationRequest`]: a login in a browser that waits for its redirect.

use std::{fmt, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    client::Client,
    endpoints::Endpoints,
    error_kind::NativeAppErrorKind,
    listener::Listener,
    redirect::RedirectCheck,
    secrets::CodeVerifier,
    time_limit::{TimeLimit, check_runtime},
    tokens::Tokens,
};
use crate::{
    oauth2::{OAuth2Error, error_kind::Kind, server::origin},
    transport::{HttpService, TransportError, TransportFuture},
};

/// How often the tokens are requested while the connection fails.
const MAX_REQUESTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

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
    pub(super) time: TimeLimit,
}

impl<S> AuthorizationRequest<S> {
    /// Returns the URL that the person opens in a browser (RFC 6749, section 4.1.1).
    ///
    /// It contains ASCII characters only. Show it to the person alone: it contains the random `state` of this login. Who
    /// knows the `state` can send a code of another account to the listener, and the program is then logged in to that
    /// account.
    ///
    /// On a machine with several users, do not pass the URL on a command line, which the other users can read. The crate
    /// `webbrowser` does so.
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
    /// If the connection for the token request fails, the code is not used. The request is then sent up to 3 times, with a
    /// pause of a second.
    ///
    /// The future can run in another tokio runtime than that of [`start`](super::AuthorizationCodeLogin::start), if the
    /// HTTP service can.
    ///
    /// # Errors
    ///
    /// - The person or the server refused the login (RFC 6749, section 4.1.2.1): [`OAuth2Error::code`] has the reason,
    ///   such as `access_denied`.
    /// - The person did not log in within the [time limit](super::AuthorizationCodeLogin::time_limit):
    ///   [`OAuth2Error::is_login_expired`].
    /// - The redirect is of another issuer (RFC 9207), or has no code.
    /// - The token request failed.
    /// - The listener failed several times in succession.
    /// - The future is not polled in a tokio runtime.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the listener and ends the login. If the person has just approved the login, the tokens
    /// can be lost.
    ///
    /// # Panics
    ///
    /// The future panics in a tokio runtime whose I/O or time is not enabled.
    pub fn wait(self) -> TransportFuture<Tokens, OAuth2Error> {
        TransportFuture::new(self.receive())
    }

    async fn receive(self) -> Result<Tokens, OAuth2Error> {
        let Self { mut client, endpoints, listener, check, verifier, redirect_uri, time, .. } =
            self;
        let failed = |kind| {
            let endpoint = format!("{}{}", origin(&endpoints.start), endpoints.start.path());
            OAuth2Error::new(endpoint, Kind::NativeApp(kind))
        };
        check_runtime().map_err(failed)?;
        let redirect = timeout(time.remaining(), listener.receive(check)).await;
        let redirect = redirect.unwrap_or(Err(NativeAppErrorKind::Expired(time.limit())));
        let code = redirect.map_err(failed)?;
        let mut requests = 1;
        loop {
            let mut form = client.token_form("authorization_code");
            form.push("code", &code);
            form.push("redirect_uri", &redirect_uri);
            form.push("code_verifier", verifier.secret());
            let sent = client.request_tokens(&endpoints, form, &[&code, verifier.secret()]).await;
            match sent {
                // The request was not sent: it has a connection of its own.
                Err(error) if requests < MAX_REQUESTS && is_connect(&error) => requests += 1,
                result => return result,
            }
            sleep(PAUSE).await;
        }
    }
}

fn is_connect(error: &OAuth2Error) -> bool {
    error.transport_error().is_some_and(TransportError::is_connect)
}

impl<S> fmt::Debug for AuthorizationRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRequest")
            .field("client", &self.client)
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}
