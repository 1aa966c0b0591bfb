//! [`ArthurError`]: why an endpoint had no answer.

use std::{fmt, time::Duration};

use http::StatusCode;

use crate::{
    InvalidToken,
    transport::{TransportError, redact},
};

/// How many organizations an error names.
const LISTED: usize = 20;

/// Why an exchange with the Arthur API failed.
///
/// It says what was endpoint and what went wrong. It holds neither the password nor the token that was sent. Of what a
/// server or the HTTP service says (an answer's body, the text of a cause), 200 characters are shown at most, and
/// printable ones only; where these repeat the secret, they show `[redacted]` instead:
///
/// * as it is, in upper or lower case, and as JSON, URLs and HTML write it,
/// * with byte or character escapes as programming languages have them (`\xc3\xa9`, `\303\251`, `\u{e9}`, …),
/// * and any of these escaped again. Every JWT is hidden too.
///
/// An encoding of the secret as a whole (base64, a hash) or a part of it is not known. A secret that is short or a common
/// word is hidden wherever the word occurs, and garbles a text. Texts that are known to be made here, such as why a
/// certificate is not accepted, are spared that.
///
/// Its [source](std::error::Error::source) is a chain of such texts and not the errors of the HTTP service themselves,
/// which may hold what was sent; ask the predicates below.
pub struct ArthurError(Box<Inner>);

struct Inner {
    endpoint: String,
    kind: Kind,
}

pub(super) enum Kind {
    Transport(TransportError),
    /// The login was answered 401 or 403.
    WrongCredentials(ErrorResponse),
    /// Any other status than 2xx and a redirect.
    ErrorResponse(ErrorResponse),
    /// serde's own error may quote the answer, so only the place is kept.
    InvalidJson {
        line: usize,
        column: usize,
    },
    MissingToken,
    InvalidToken(InvalidToken),
    #[cfg(feature = "jwt-verify")]
    Signature(super::signature::Unverified),
    SeveralOrganizations {
        ids: Vec<String>,
        shown: String,
    },
}

/// What a server that refuses says.
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) description: String,
    pub(super) retry_after: Option<Duration>,
}

impl Kind {
    pub(super) fn several_organizations(ids: Vec<String>, secret: &str) -> Self {
        let shown = ids.iter().take(LISTED);
        let mut shown: Vec<String> = shown.map(|id| redact(id.as_bytes(), &[secret])).collect();
        if ids.len() > LISTED {
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

    /// A login's answer of 401 or 403 is about the credentials.
    pub(super) fn of_login(mut self) -> Self {
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

    fn transport_error_is(&self, so: impl Fn(&TransportError) -> bool) -> bool {
        matches!(&self.0.kind, Kind::Transport(error) if so(error))
    }

    /// Whether the login was answered 401 or 403: trying again is no use.
    pub fn is_wrong_credentials(&self) -> bool {
        matches!(self.0.kind, Kind::WrongCredentials(_))
    }

    /// The status, where the answer's was not 2xx.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.0.kind {
            Kind::Transport(error) => error.status(),
            _ => self.error_response().map(|response| response.status),
        }
    }

    /// How long the server wants to be left alone, where it said so (`Retry-After`, RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.error_response().and_then(|response| response.retry_after)
    }

    /// Whether time ran out: the exchange's own ([`ArthurApi::timeout`](super::ArthurApi::timeout)), or the
    /// connection's.
    pub fn is_timeout(&self) -> bool {
        self.transport_error_is(TransportError::is_timeout)
    }

    /// Whether there was no connection: no such host, refused, unreachable. TLS has its [own](Self::is_tls) predicate.
    pub fn is_connect(&self) -> bool {
        self.transport_error_is(TransportError::is_connect)
    }

    /// Whether the host's name was not resolved. Such an error is also one [to connect](Self::is_connect).
    pub fn is_dns(&self) -> bool {
        self.transport_error_is(TransportError::is_dns)
    }

    /// Whether TLS failed, most often for a certificate that is not accepted.
    pub fn is_tls(&self) -> bool {
        self.transport_error_is(TransportError::is_tls)
    }

    /// Returns whether the server did not follow the protocol: no TLS, no HTTP, invalid HTTP/2, or a content coding that
    /// was not requested.
    pub fn is_protocol(&self) -> bool {
        self.transport_error_is(TransportError::is_protocol)
    }

    /// Returns whether the connection or the HTTP/2 stream was closed or reset before the response was complete.
    pub fn is_closed(&self) -> bool {
        self.transport_error_is(TransportError::is_closed)
    }

    /// Whether the answer was a redirect: one to another origin, or one too many.
    pub fn is_redirect(&self) -> bool {
        self.transport_error_is(TransportError::is_redirect)
    }

    /// Whether the answer was too large: its body for the [limit](super::ArthurApi::body_limit), or its head for the
    /// HTTP client.
    pub fn is_too_large(&self) -> bool {
        self.transport_error_is(TransportError::is_too_large)
    }

    /// Whether the login's answer had no token.
    pub fn is_missing_token(&self) -> bool {
        matches!(self.0.kind, Kind::MissingToken)
    }

    /// Whether the login's answer had a token that may not be used: no header can hold it, or its signature is wrong.
    pub fn is_invalid_token(&self) -> bool {
        match self.0.kind {
            Kind::InvalidToken(_) => true,
            #[cfg(feature = "jwt-verify")]
            Kind::Signature(_) => true,
            _ => false,
        }
    }

    /// The organizations, where the user has several and [`GetCurrentOrg`](super::GetCurrentOrg) cannot choose.
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
                write!(f, "the answer is not the JSON expected (line {line}, column {column})")
            }
            Kind::MissingToken => f.write_str("the login answer had no token"),
            Kind::InvalidToken(error) => {
                write!(f, "the login answer's token cannot be used: {error}")
            }
            #[cfg(feature = "jwt-verify")]
            Kind::Signature(error) => write!(f, "the login answer's token is not genuine: {error}"),
            Kind::SeveralOrganizations { shown, .. } => {
                write!(f, "the user has several organizations: {shown}")
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
            Kind::InvalidToken(error) => Some(error),
            #[cfg(feature = "jwt-verify")]
            Kind::Signature(error) => Some(error),
            _ => None,
        }
    }
}
