//! [`DeviceAuthorization`]: a device login that waits for the person.

use std::{fmt, pin::Pin, time::Duration};

use http::StatusCode;
use tokio::time::{Sleep, sleep};

use super::{
    client::Client, device_response::DeviceResponse, endpoints::Endpoints,
    error_kind::NativeAppErrorKind, poll_interval::PollInterval, tokens::Tokens,
};
use crate::{
    oauth2::{OAuth2Error, error_kind::Kind, form_request::endpoint_name},
    transport::{HttpService, TransportFuture},
};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

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
    pub(super) expiry: Pin<Box<Sleep>>,
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

    /// Returns how long the person has, from the start of the login. It is an hour at most.
    pub fn expires_in(&self) -> Duration {
        self.response.lifetime
    }
}

impl<S: HttpService> DeviceAuthorization<S> {
    /// Waits until the person has approved the login, and returns the tokens.
    ///
    /// It requests the tokens in the interval of the server, which defaults to 5 seconds (RFC 8628, section 3.5). Each
    /// `slow_down` adds 5 seconds. While there is no connection or the server is overloaded, the pause doubles, up to a
    /// minute.
    ///
    /// # Errors
    ///
    /// - The person has refused the login: [`OAuth2Error::is_access_denied`].
    /// - The code has expired: [`OAuth2Error::is_login_expired`]. If the last request failed for another reason, that is
    ///   the error.
    /// - The server rejected the request, or its response is invalid.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the login. If the person has just approved it, the tokens can be lost.
    pub fn wait(self) -> TransportFuture<Tokens, OAuth2Error> {
        TransportFuture::new(self.poll())
    }

    async fn poll(mut self) -> Result<Tokens, OAuth2Error> {
        let mut interval = PollInterval::new(self.response.interval);
        let mut pause = interval.pause();
        let mut unavailable = None;
        loop {
            tokio::select! {
                biased;
                () = &mut self.expiry => return Err(unavailable.unwrap_or_else(|| self.expired())),
                () = sleep(pause) => {}
            }
            let error = match self.request_tokens().await {
                Ok(tokens) => return Ok(tokens),
                Err(error) => error,
            };
            let retry_after = error.retry_after().unwrap_or_default();
            unavailable = None;
            match error.code() {
                Some("authorization_pending") => interval.on_response(),
                Some("slow_down") => interval.on_slow_down(),
                Some("expired_token") => return Err(self.expired()),
                Some("access_denied") => return Err(self.failed(NativeAppErrorKind::denied())),
                _ if is_unavailable(&error) => {
                    interval.on_failure();
                    unavailable = Some(error);
                }
                _ => return Err(error),
            }
            pause = interval.pause().max(retry_after);
        }
    }

    async fn request_tokens(&mut self) -> Result<Tokens, OAuth2Error> {
        let device_code = &self.response.device_code;
        let mut form = self.client.token_form(DEVICE_CODE);
        form.push("device_code", device_code);
        self.client.request_tokens(&self.endpoints, form, &[device_code]).await
    }

    fn expired(&self) -> OAuth2Error {
        self.failed(NativeAppErrorKind::Expired(self.response.lifetime))
    }

    fn failed(&self, kind: NativeAppErrorKind) -> OAuth2Error {
        OAuth2Error::new(endpoint_name(&self.endpoints.token), Kind::NativeApp(kind))
    }
}

/// Returns whether a later request can succeed: there is no complete response, or the server is overloaded.
fn is_unavailable(error: &OAuth2Error) -> bool {
    error.transport_error().is_some()
        || error.status().is_some_and(|status| {
            status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
        })
}

impl<S> fmt::Debug for DeviceAuthorization<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAuthorization")
            .field("client", &self.client)
            .field("verification_uri", &self.response.verification_uri)
            .field("expires_in", &self.response.lifetime)
            .finish_non_exhaustive()
    }
}
