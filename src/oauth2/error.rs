//! [`OAuth2Error`]: why a login returned no token.

use std::{error::Error, fmt, time::Duration};

use http::StatusCode;

use super::error_kind::{ErrorResponse, Failure, Kind};
use crate::{LoginError, transport::TransportError};

/// The error of a login at an authorization server: the [`cause`](LoginError::cause) of a [`LoginError`].
///
/// Its text names the request, without a query, and the cause. It contains no secret that was sent: if a response
/// repeats a secret, the text contains `[redacted]` instead. It quotes at most 200 characters of a response.
///
/// ```
/// use tower_auth_refresh::{LoginError, oauth2::OAuth2Error};
///
/// fn must_ask_the_user_again(error: &LoginError) -> bool {
///     error.cause().is_some_and(OAuth2Error::is_invalid_grant)
/// }
/// # assert!(!must_ask_the_user_again(&LoginError::transient("timeout")));
/// ```
pub struct OAuth2Error(Box<Failure>);

impl OAuth2Error {
    pub(super) fn new(endpoint: impl Into<String>, kind: Kind) -> Self {
        Self(Box::new(Failure { endpoint: endpoint.into(), kind }))
    }

    /// Returns the failed requests: both, if no place has usable metadata.
    fn failures(&self) -> &[Failure] {
        match &self.0.kind {
            Kind::Discovery(failures) => failures,
            _ => std::slice::from_ref(&*self.0),
        }
    }

    fn error_responses(&self) -> impl Iterator<Item = &ErrorResponse> {
        self.failures().iter().filter_map(|failure| match &failure.kind {
            Kind::ErrorResponse(response) => Some(response),
            _ => None,
        })
    }

    /// Returns why there is no complete response, if that is the cause. If the requests for metadata failed, it is the
    /// first of [`transport_errors`](Self::transport_errors).
    #[doc(alias = "is_timeout")]
    #[doc(alias = "is_connect")]
    pub fn transport_error(&self) -> Option<&TransportError> {
        self.transport_errors().next()
    }

    /// Returns the reason for each request without a complete response. There are two only if both requests for metadata
    /// failed.
    pub fn transport_errors(&self) -> impl Iterator<Item = &TransportError> {
        self.failures().iter().filter_map(|failure| match &failure.kind {
            Kind::Transport(error) => Some(error),
            _ => None,
        })
    }

    /// Returns the server's error code (RFC 6749, sections 4.1.2.1 and 5.2), such as `invalid_grant`.
    ///
    /// The server chooses it; it is printable and has at most 200 characters.
    pub fn code(&self) -> Option<&str> {
        #[cfg(feature = "oauth2-native-app")]
        if let Kind::NativeApp(kind) = &self.0.kind {
            return kind.code();
        }
        self.error_responses().find_map(|response| response.code.as_deref())
    }

    /// Returns the status of an error response or redirect.
    pub fn status(&self) -> Option<StatusCode> {
        self.failures().iter().find_map(|failure| match &failure.kind {
            Kind::Transport(error) => error.status(),
            Kind::ErrorResponse(response) => Some(response.status),
            _ => None,
        })
    }

    /// Returns the delay that the server requests (`Retry-After`, RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.0.kind {
            Kind::Credential(_, error) => error.retry_after(),
            _ => {
                let responses = self.error_responses().filter_map(|response| response.retry_after);
                let redirects = self.transport_errors().filter_map(TransportError::retry_after);
                responses.chain(redirects).max()
            }
        }
    }

    /// Returns whether the error lasts until a person acts.
    ///
    /// - The server returned a code of RFC 6749, section 5.2, or RFC 8707, section 2, or it
    ///   [requires a login](Self::is_login_required). The status is neither 429 nor 5xx.
    /// - The store has no refresh token.
    /// - The client's secret is not a valid header value.
    /// - The login service for an assertion, a secret or a token returned a [permanent error](LoginError::permanent).
    /// - The login of a person was refused or not completed in time, or the server does not support it.
    pub fn is_permanent(&self) -> bool {
        match &self.0.kind {
            Kind::ErrorResponse(response) => response.is_permanent(),
            Kind::Credential(_, error) => error.is_permanent(),
            Kind::MissingRefreshToken | Kind::InvalidSecret => true,
            #[cfg(feature = "oauth2-native-app")]
            Kind::NativeApp(kind) => kind.is_permanent(),
            #[cfg(feature = "oauth2-native-app")]
            Kind::Discovery(failures) => failures.iter().any(
                |failure| matches!(&failure.kind, Kind::NativeApp(kind) if kind.is_permanent()),
            ),
            _ => false,
        }
    }

    /// Returns whether the same request can succeed later.
    #[cfg(feature = "oauth2-native-app")]
    pub(super) fn is_outage(&self) -> bool {
        self.0.kind.is_outage()
    }

    /// Returns whether the response was not a token response or metadata, or contained a token that cannot be sent.
    pub fn is_invalid_response(&self) -> bool {
        let is_invalid = |kind: &Kind| match kind {
            Kind::InvalidResponse(_)
            | Kind::InvalidToken(_)
            | Kind::TokenType(_)
            | Kind::Metadata(_) => true,
            #[cfg(feature = "oauth2-native-app")]
            Kind::NativeApp(kind) => kind.is_invalid_response(),
            _ => false,
        };
        self.failures().iter().any(|failure| is_invalid(&failure.kind))
    }

    /// Returns whether the server rejects the refresh token, assertion or password (`invalid_grant`, or another name that
    /// a server has for it, such as `bad_refresh_token`).
    pub fn is_invalid_grant(&self) -> bool {
        self.error_responses().any(|response| response.standard_code() == Some("invalid_grant"))
    }

    /// Returns whether a person has to log in.
    ///
    /// - The store has no refresh token.
    /// - The server [rejects](Self::is_invalid_grant) the refresh token.
    /// - The server requires the person: `interaction_required`, `login_required` or `consent_required` (OpenID Connect
    ///   Core 1.0, section 3.1.2.6).
    ///
    /// It is for [grants by refresh token](super::Grant::refresh_token_store). A server rejects the credentials of other
    /// grants with the same code.
    pub fn is_login_required(&self) -> bool {
        matches!(self.0.kind, Kind::MissingRefreshToken)
            || self.is_invalid_grant()
            || self.error_responses().any(ErrorResponse::requires_interaction)
    }

    /// Returns whether the person has refused the login (`access_denied`: RFC 6749, section 4.1.2.1; RFC 8628, section
    /// 3.5), also by the name `authorization_declined` of Entra ID.
    #[cfg(feature = "oauth2-native-app")]
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth2-native-app")))]
    pub fn is_access_denied(&self) -> bool {
        matches!(self.code(), Some("access_denied" | "authorization_declined"))
    }

    /// Returns whether the person has not completed the login in time.
    #[cfg(feature = "oauth2-native-app")]
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth2-native-app")))]
    pub fn is_login_expired(&self) -> bool {
        use super::native_app::NativeAppErrorKind;
        matches!(self.0.kind, Kind::NativeApp(NativeAppErrorKind::Expired(_)))
    }
}

impl From<OAuth2Error> for LoginError {
    fn from(error: OAuth2Error) -> Self {
        let (is_permanent, retry_after) = (error.is_permanent(), error.retry_after());
        Self::of_service(error.into(), is_permanent, retry_after)
    }
}

impl fmt::Display for OAuth2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for OAuth2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OAuth2Error").field(&format_args!("{self}")).finish()
    }
}

impl Error for OAuth2Error {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.transport_error() {
            Some(error) => error.source(),
            None => self.0.kind.source(),
        }
    }
}
