//! [`Failure`]: the request that failed, and why.

use std::{error::Error, fmt, time::Duration};

use http::StatusCode;

use super::InvalidKey;
use crate::{BoxError, InvalidToken, LoginError, transport::TransportError};

/// The codes of a token endpoint: RFC 6749, section 5.2, and RFC 8707, section 2.
const STANDARD_CODES: [&str; 7] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
];

/// The codes for which a person has to act in the browser (OpenID Connect Core 1.0, section 3.1.2.6).
const INTERACTION_CODES: [&str; 3] = ["interaction_required", "login_required", "consent_required"];

/// The other codes of the authorization endpoint (RFC 6749, section 4.1.2.1) and of the device flow (RFC 8628, section
/// 3.5; `authorization_declined` is that of Entra ID).
const LOGIN_CODES: [&str; 8] = [
    "access_denied",
    "authorization_declined",
    "authorization_pending",
    "expired_token",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unsupported_response_type",
];

pub(super) enum Kind {
    Transport(TransportError),
    ErrorResponse(ErrorResponse),
    /// The response is not a token response, and why.
    InvalidResponse(String),
    InvalidToken(InvalidToken),
    /// The token is of a type that is not sent as a bearer token.
    TokenType(String),
    /// The metadata cannot be used, and why.
    Metadata(String),
    /// Neither place has usable metadata.
    Discovery(Vec<Failure>),
    /// The store of the refresh token failed.
    Store(BoxError),
    MissingRefreshToken,
    /// The login service that returns this parameter failed.
    Credential(&'static str, LoginError),
    Signing(InvalidKey),
    /// The client's secret is not a valid header value.
    InvalidSecret,
    Interrupted,
    /// A person's login returned no tokens.
    #[cfg(feature = "oauth2-native-app")]
    NativeApp(super::native_app::NativeAppErrorKind),
}

/// A failed request.
pub(super) struct Failure {
    /// The request, without a query.
    pub(super) endpoint: String,
    pub(super) kind: Kind,
}

/// An error response (RFC 6749, section 5.2).
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    /// `error`, if there is one.
    pub(super) code: Option<String>,
    /// `error_description`, or the start of the body.
    pub(super) description: String,
    pub(super) retry_after: Option<Duration>,
}

impl Kind {
    /// Returns whether the token endpoint may have moved.
    pub(super) fn endpoint_moved(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::ErrorResponse(response) => {
                let gone =
                    [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE];
                response.code.is_none() && gone.contains(&response.status)
            }
            _ => false,
        }
    }

    /// Returns whether the server may have replaced a refresh token although the next one was not received.
    ///
    /// Token requests have a connection of their own, so one that fails to connect was not sent.
    pub(super) fn may_hide_rotation(&self) -> bool {
        match self {
            Self::Transport(error) => {
                !(error.is_connect() || error.is_tls() || error.is_redirect())
            }
            _ => false,
        }
    }

    /// Returns whether the same request can succeed later: there is no complete response, the server is overloaded, or a
    /// login service for the client's credentials failed. A redirect and a failure of TLS last.
    #[cfg(feature = "oauth2-native-app")]
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Transport(error) => !(error.is_redirect() || error.is_tls()),
            Self::ErrorResponse(response) => response.is_overload(),
            Self::Credential(_, error) => !error.is_permanent(),
            _ => false,
        }
    }

    fn standard_code(&self) -> Option<&'static str> {
        match self {
            Self::ErrorResponse(response) => response.standard_code(),
            _ => None,
        }
    }

    /// Returns whether the server has rejected the client's credentials.
    pub(super) fn rejects_client(&self) -> bool {
        matches!(self.standard_code(), Some("invalid_client" | "invalid_request"))
    }

    /// Returns whether the server has rejected the client's credentials or its grant.
    pub(super) fn rejects_credentials(&self) -> bool {
        self.rejects_client() || self.standard_code() == Some("invalid_grant")
    }

    /// Returns the cause, if this text does not contain it.
    pub(super) fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(&**error),
            Self::Credential(_, error) => Some(error),
            _ => None,
        }
    }
}

impl ErrorResponse {
    /// Returns the code of the standard, also for the names that some servers have for it.
    pub(super) fn standard_code(&self) -> Option<&'static str> {
        standard_code(self.code.as_deref()?)
    }

    /// Returns whether a person has to act in the browser.
    pub(super) fn requires_interaction(&self) -> bool {
        self.code.as_deref().is_some_and(|code| INTERACTION_CODES.contains(&code))
    }

    fn is_overload(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }

    /// Returns whether the error lasts until a person acts. An unknown code can pass.
    pub(super) fn is_permanent(&self) -> bool {
        !self.is_overload() && (self.standard_code().is_some() || self.requires_interaction())
    }
}

/// Returns whether the code is one of a standard, which is not secret even if it contains a secret.
pub(super) fn is_known_code(code: &str) -> bool {
    standard_code(code).is_some()
        || INTERACTION_CODES.contains(&code)
        || LOGIN_CODES.contains(&code)
}

fn standard_code(code: &str) -> Option<&'static str> {
    let code = match code {
        // GitHub, with status 200.
        "bad_refresh_token" | "invalid_refresh_token" => "invalid_grant",
        "incorrect_client_credentials" => "invalid_client",
        code => code,
    };
    STANDARD_CODES.into_iter().find(|standard| *standard == code)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::ErrorResponse(response) => response.fmt(f),
            Self::InvalidResponse(cause) => write!(f, "invalid token response: {cause}"),
            Self::InvalidToken(error) => write!(f, "invalid token response: {error}"),
            Self::TokenType(token_type) => write!(f, "token type is not Bearer: {token_type:?}"),
            Self::Metadata(cause) => write!(f, "invalid metadata: {cause}"),
            Self::Discovery(errors) => {
                f.write_str("metadata is missing or invalid")?;
                errors.iter().try_for_each(|error| write!(f, "; {error}"))
            }
            Self::Store(_) => f.write_str("refresh token store failed"),
            Self::MissingRefreshToken => f.write_str("refresh token missing: login required"),
            Self::Credential(name, _) => write!(f, "login service for {name} failed"),
            Self::Signing(error) => error.fmt(f),
            Self::InvalidSecret => f.write_str("client secret is not a valid header value"),
            Self::Interrupted => f.write_str("login aborted by its runtime"),
            #[cfg(feature = "oauth2-native-app")]
            Self::NativeApp(kind) => kind.fmt(f),
        }
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if !self.description.is_empty() {
            write!(f, ": {}", self.description)?;
        }
        Ok(())
    }
}
