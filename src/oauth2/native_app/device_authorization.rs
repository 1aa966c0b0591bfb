//! [`DeviceAuthorization`]: a device login that waits for the person.

use std::{fmt, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    client::{Client, REQUEST_TIMEOUT},
    device_response::DeviceResponse,
    endpoints::Endpoints,
    error_kind::NativeAppErrorKind,
    poll_interval::PollInterval,
    time_limit::{TimeLimit, check_runtime},
    tokens::Tokens,
};
use crate::{
    oauth2::{OAuth2Error, error_kind::Kind, form_request::endpoint_name},
    transport::{HttpService, TransportFuture},
};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long a request can outlast the expiry. The server can have granted the tokens just before it.
const GRACE: Duration = REQUEST_TIMEOUT;

/// A device login that has started: what the person has to do (RFC 8628, section 3.3).
///
/// [`DeviceLogin::start`](super::DeviceLogin::start) returns it. Its texts contain printable ASCII characters only, so
/// they are safe in a terminal. Dropping it ends the login. `Debug` does not show the codes.
///
/// ```
/// use tower_auth_refresh::oauth2::native_app::DeviceAuthorization;
///
/// fn show<S>(login: &DeviceAuthorization<S>) {
///     println!("Open {} and enter the code {}", login.verification_uri(), login.user_code());
///     println!("You have {} minutes", login.expires_in().as_secs() / 60);
/// }
/// # let _ = show::<()>;
/// ```
#[must_use = "the login ends when this is dropped"]
pub struct DeviceAuthorization<S> {
    pub(super) client: Client<S>,
    pub(super) endpoints: Endpoints,
    pub(super) response: DeviceResponse,
    pub(super) time: TimeLimit,
}

impl<S> DeviceAuthorization<S> {
    /// Returns the page on which the person enters the code, on any device.
    pub fn verification_uri(&self) -> &str {
        &self.response.verification_uri
    }

    /// Returns the page with the code filled in, if the server has one: for a browser on this machine, or a QR code.
    ///
    /// Show the [code](Self::user_code) too. The person compares it with the code on the page, so that no other person's
    /// login is approved (RFC 8628, section 5.4).
    pub fn verification_uri_complete(&self) -> Option<&str> {
        self.response.verification_uri_complete.as_deref()
    }

    /// Returns the code that the person enters.
    pub fn user_code(&self) -> &str {
        &self.response.user_code
    }

    /// Returns how long the code is valid, counted from the response of the server. At most one hour.
    pub fn expires_in(&self) -> Duration {
        self.time.limit()
    }
}

impl<S: HttpService> DeviceAuthorization<S> {
    /// Waits until the person has approved the login, and returns the tokens.
    ///
    /// It requests the tokens in the interval of the server, which defaults to 5 seconds (RFC 8628, section 3.5). Each
    /// `slow_down` adds 5 seconds. The pause doubles, up to a minute, while one of these lasts:
    ///
    /// - There is no complete response.
    /// - The server is overloaded (status 429 or 5xx).
    /// - The login service for the client's secret or assertion returns a transient error.
    ///
    /// The last request is sent just before the code expires, if the interval permits it. A request that is under way then
    /// has 8 more seconds.
    ///
    /// The future can run in another tokio runtime than that of [`start`](super::DeviceLogin::start), if the HTTP service
    /// can.
    ///
    /// # Errors
    ///
    /// - The person has refused the login: [`OAuth2Error::is_access_denied`].
    /// - The code has expired: [`OAuth2Error::is_login_expired`]. If the last request failed for another reason, that is
    ///   the error.
    /// - The server rejected the request, or its response is invalid.
    /// - The response is a redirect that was not followed, or TLS failed.
    /// - The future is not polled in a tokio runtime.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the login. If the person has just approved it, the tokens can be lost.
    ///
    /// # Panics
    ///
    /// The future panics in a tokio runtime whose time is not enabled.
    pub fn wait(self) -> TransportFuture<Tokens, OAuth2Error> {
        TransportFuture::new(self.poll())
    }

    async fn poll(mut self) -> Result<Tokens, OAuth2Error> {
        check_runtime().map_err(|kind| self.failed(kind))?;
        let mut interval = PollInterval::new(self.response.interval);
        let mut retry_after = Duration::ZERO;
        let mut outage = None;
        loop {
            let remaining = self.time.remaining();
            let pause = interval.pause(remaining).max(retry_after);
            sleep(pause.min(remaining)).await;
            if pause >= remaining {
                return Err(outage.unwrap_or_else(|| self.expired()));
            }
            let limit = self.time.remaining().saturating_add(GRACE);
            let error = match timeout(limit, self.request_tokens()).await {
                Ok(Ok(tokens)) => return Ok(tokens),
                Ok(Err(error)) => error,
                Err(_) => return Err(outage.unwrap_or_else(|| self.expired())),
            };
            retry_after = error.retry_after().unwrap_or_default();
            outage = None;
            match error.code() {
                Some("authorization_pending") => interval.on_response(),
                Some("slow_down") => interval.on_slow_down(),
                Some("expired_token") => return Err(self.expired()),
                // The second one is that of Entra ID.
                Some(code @ ("access_denied" | "authorization_declined")) => {
                    return Err(self.failed(NativeAppErrorKind::denied(code)));
                }
                _ if error.is_outage() => {
                    interval.on_failure();
                    outage = Some(error);
                }
                _ => return Err(error),
            }
        }
    }

    async fn request_tokens(&mut self) -> Result<Tokens, OAuth2Error> {
        let device_code = &self.response.device_code;
        let mut form = self.client.token_form(DEVICE_CODE);
        form.push("device_code", device_code);
        self.client.request_tokens(&self.endpoints, form, &[device_code]).await
    }

    fn expired(&self) -> OAuth2Error {
        self.failed(NativeAppErrorKind::Expired(self.time.limit()))
    }

    fn failed(&self, kind: NativeAppErrorKind) -> OAuth2Error {
        OAuth2Error::new(endpoint_name(&self.endpoints.token), Kind::NativeApp(kind))
    }
}

impl<S> fmt::Debug for DeviceAuthorization<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query can contain the code of the person.
        let page = self.response.verification_uri.split(['?', '#']).next();
        f.debug_struct("DeviceAuthorization")
            .field("client", &self.client)
            .field("verification_uri", &page.unwrap_or_default())
            .field("expires_in", &self.response.lifetime)
            .finish_non_exhaustive()
    }
}
