//! [`ArthurError`]: why a request failed.

use std::{fmt, time::Duration};

use http::StatusCode;

use crate::{
    InvalidToken,
    transport::{TransportError, redact},
};

/// How many organizations the text of an error lists.
const MAX_LISTED: usize = 20;

/// Reports why a request to the Arthur API failed.
///
/// Its text names the request and the cause. It contains neither the password nor the token that was sent. It quotes at
/// most 200 printable characters of a server's response or of an error of the HTTP service. From a JSON error, it
/// quotes only `error`, `error_description` and `message`. It contains `[redacted]` instead
///
/// - of the secret: as it is, in upper or lower case, and as JSON and forms encode it,
/// - of the whole text, if it contains another escape sequence, such as those of URLs, HTML and programming languages
///   (`%41`, `&#65;`, `\x41`, …): it could be the secret in another encoding.
///
/// The error also redacts every JWT. It does not recognize a part of the secret, or an encoding of the whole secret,
/// such as base64 or a hash. If a secret is short or a common word, the error redacts each occurrence of that word.
/// This does not apply to texts of the crate and its dependencies, such as why a certificate is invalid.
///
/// Its [source](std::error::Error::source) is a chain of such texts, and not the error of the HTTP service, which can
/// contain what was sent. Use the methods below to distinguish errors.
///
/// ```
/// use tower_auth_refresh::{LoginError, arthur::ArthurError};
///
/// fn must_ask_for_the_password(error: &LoginError) -> bool {
///     error.cause().is_some_and(ArthurError::is_wrong_credentials)
/// }
/// # assert!(!must_ask_for_the_password(&LoginError::transient("timeout")));
/// ```
pub struct ArthurError(Box<Inner>);

struct Inner {
    endpoint: String,
    kind: Kind,
}

pub(super) enum Kind {
    Transport(TransportError),
    /// The response to a login is 401 or 403.
    WrongCredentials(ErrorResponse),
    /// Any other status except 2xx and redirects.
    ErrorResponse(ErrorResponse),
    /// The position only, because serde's error can quote the response.
    InvalidJson {
        line: usize,
        column: usize,
    },
    MissingToken,
    InvalidToken(InvalidToken),
    #[cfg(feature = "arthur-jwt-verify")]
    Signature(super::signature::Unverified),
    SeveralOrganizations {
        ids: Vec<String>,
        shown: String,
    },
}

/// An error response.
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) description: String,
    pub(super) retry_after: Option<Duration>,
}

impl Kind {
    pub(super) fn several_organizations(ids: Vec<String>, secret: &str) -> Self {
        let shown = ids.iter().take(MAX_LISTED);
        let mut shown: Vec<String> = shown.map(|id| redact(id.as_bytes(), &[secret])).collect();
        if ids.len() > MAX_LISTED {
            shown.push("…".to_owned());
        }
        let shown = shown.join(", ");
        Self::SeveralOrganizations { ids, shown }
    }

    pub(super) fn json(error: &serde_json::Error) -> Self {
        Self::InvalidJson { line: error.line(), column: error.column() }
    }
}

impl ArthurError {
    pub(super) fn new(endpoint: String, kind: Kind) -> Self {
        Self(Box::new(Inner { endpoint, kind }))
    }

    /// Marks the error of a login: 401 and 403 concern the credentials.
    pub(super) fn for_login(mut self) -> Self {
        self.0.kind = match self.0.kind {
            Kind::ErrorResponse(response)
                if matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
            {
                Kind::WrongCredentials(response)
            }
            other => other,
        };
        self
    }

    fn error_response(&self) -> Option<&ErrorResponse> {
        match &self.0.kind {
            Kind::WrongCredentials(response) | Kind::ErrorResponse(response) => Some(response),
            _ => None,
        }
    }

    /// Returns why there is no complete response, if that is the cause.
    #[doc(alias = "is_timeout")]
    #[doc(alias = "is_connect")]
    pub fn transport_error(&self) -> Option<&TransportError> {
        match &self.0.kind {
            Kind::Transport(error) => Some(error),
            _ => None,
        }
    }

    /// Returns whether the credentials are wrong: the response to the login was 401 or 403.
    pub fn is_wrong_credentials(&self) -> bool {
        matches!(self.0.kind, Kind::WrongCredentials(_))
    }

    /// Returns the status of a response other than 2xx.
    pub fn status(&self) -> Option<StatusCode> {
        let redirect = self.transport_error().and_then(TransportError::status);
        redirect.or_else(|| self.error_response().map(|response| response.status))
    }

    /// Returns the delay that the server requests (`Retry-After`, RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        let redirect = self.transport_error().and_then(TransportError::retry_after);
        redirect.or_else(|| self.error_response()?.retry_after)
    }

    /// Returns whether the response to the login had no token.
    pub fn is_missing_token(&self) -> bool {
        matches!(self.0.kind, Kind::MissingToken)
    }

    /// Returns whether the token of the response is invalid: it is not a valid header value, or its signature is wrong.
    pub fn is_invalid_token(&self) -> bool {
        match self.0.kind {
            Kind::InvalidToken(_) => true,
            #[cfg(feature = "arthur-jwt-verify")]
            Kind::Signature(_) => true,
            _ => false,
        }
    }

    /// Returns the organizations, if the user has several and [`GetCurrentOrg`](super::GetCurrentOrg) cannot choose.
    pub fn organizations(&self) -> &[String] {
        match &self.0.kind {
            Kind::SeveralOrganizations { ids, .. } => ids,
            _ => &[],
        }
    }
}

impl fmt::Display for ArthurError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { endpoint, kind } = &*self.0;
        write!(f, "{endpoint}: ")?;
        match kind {
            Kind::Transport(error) => error.fmt(f),
            Kind::WrongCredentials(response) => write!(f, "wrong credentials ({response})"),
            Kind::ErrorResponse(response) => response.fmt(f),
            Kind::InvalidJson { line, column } => {
                write!(f, "response is not the expected JSON (line {line}, column {column})")
            }
            Kind::MissingToken => f.write_str("login response lacks a token"),
            Kind::InvalidToken(error) => {
                write!(f, "invalid login response: {error}")
            }
            #[cfg(feature = "arthur-jwt-verify")]
            Kind::Signature(error) => write!(f, "invalid login response: {error}"),
            Kind::SeveralOrganizations { shown, .. } => {
                write!(f, "user has several organizations: {shown}")
            }
        }
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(f, " {reason}")?;
        }
        if !self.description.is_empty() {
            write!(f, ": {}", self.description)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ArthurError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArthurError").field(&format_args!("{self}")).finish()
    }
}

impl std::error::Error for ArthurError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            Kind::Transport(error) => error.source(),
            #[cfg(feature = "arthur-jwt-verify")]
            Kind::Signature(error) => error.source(),
            _ => None,
        }
    }
}
