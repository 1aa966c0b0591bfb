//! [`OAuth2Error`]: why a grant brought no token.

use std::{error::Error, fmt, time::Duration};

use http::StatusCode;

use super::InvalidKey;
use crate::{BoxError, InvalidToken, LoginError, transport::TransportError};

/// Why a grant brought no token.
///
/// It says what was asked, without a query, and what went wrong. It holds no secret that was sent; where an answer repeats
/// one, `[redacted]` is shown instead, and 200 characters of an answer at most.
pub struct OAuth2Error(Box<Inner>);

struct Inner {
    asked: String,
    kind: Kind,
}

pub(super) enum Kind {
    Transport(TransportError),
    ErrorResponse(ErrorResponse),
    Redirect(StatusCode),
    /// What about the answer is not as it should be.
    InvalidResponse(String),
    InvalidToken(InvalidToken),
    /// The token is to be used in another way than as a bearer's.
    TokenType(String),
    /// The metadata, or the token endpoint it names, may not be used, and why.
    Metadata(String),
    /// The store of the refresh token failed.
    Store(BoxError),
    MissingRefreshToken,
    /// The login service that brings the assertion, or the token to exchange, failed.
    Assertion(LoginError),
    Signing(InvalidKey),
    /// A secret holds what no header can.
    InvalidSecret,
    Interrupted,
}

impl Kind {
    /// Whether the token endpoint may be elsewhere now.
    pub(super) fn endpoint_moved(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Redirect(_) => true,
            Self::ErrorResponse(refusal) => {
                let gone = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE];
                refusal.code.is_none() && gone.contains(&refusal.status)
            }
            _ => false,
        }
    }
}

/// What a server that refuses says (RFC 6749, section 5.2).
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    /// `error`, where the answer has one.
    pub(super) code: Option<String>,
    /// `error_description`, or a piece of the answer.
    pub(super) description: String,
    pub(super) retry_after: Option<Duration>,
}

/// The codes that a token endpoint may answer: RFC 6749, section 5.2, and RFC 8707, section 2.
pub(super) fn is_standard(code: &str) -> bool {
    let codes = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
    ];
    codes.contains(&code)
}

impl ErrorResponse {
    /// Whether it lasts until somebody mends it. What is not known may pass.
    fn is_permanent(&self) -> bool {
        let passes = self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error();
        !passes && self.code.as_deref().is_some_and(is_standard)
    }
}

impl OAuth2Error {
    pub(super) fn new(asked: impl Into<String>, kind: Kind) -> Self {
        Self(Box::new(Inner { asked: asked.into(), kind }))
    }

    fn refusal(&self) -> Option<&ErrorResponse> {
        match &self.0.kind {
            Kind::ErrorResponse(refusal) => Some(refusal),
            _ => None,
        }
    }

    fn is_broken(&self, so: impl Fn(&TransportError) -> bool) -> bool {
        matches!(&self.0.kind, Kind::Transport(broken) if so(broken))
    }

    /// The server's error code (RFC 6749, section 5.2), such as `invalid_grant`, where it gave one. Whatever it says:
    /// printable, and 200 characters at most.
    pub fn code(&self) -> Option<&str> {
        self.refusal()?.code.as_deref()
    }

    /// The status, where the answer's was an error.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.0.kind {
            Kind::Redirect(status) => Some(*status),
            _ => Some(self.refusal()?.status),
        }
    }

    /// How long the server wants to be left alone, where it said so (`Retry-After`, RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }

    /// Whether somebody must mend it: one of the codes of RFC 6749, section 5.2, or of RFC 8707, with a status that is neither
    /// 429 nor 5xx; a type of token that cannot be sent in a header; a redirect; no refresh token; or an assertion whose login
    /// says so. All else may pass.
    pub fn is_permanent(&self) -> bool {
        match &self.0.kind {
            Kind::ErrorResponse(refusal) => refusal.is_permanent(),
            Kind::Assertion(error) => error.is_permanent(),
            Kind::Redirect(_) | Kind::TokenType(_) | Kind::MissingRefreshToken | Kind::InvalidSecret => true,
            _ => false,
        }
    }

    /// Whether time ran out: the exchange's own ([`OAuth2Login::timeout`](super::OAuth2Login::timeout)), or the
    /// connection's.
    pub fn is_timeout(&self) -> bool {
        self.is_broken(TransportError::is_timeout)
    }

    /// Whether there was no connection: no such host, refused, unreachable.
    pub fn is_connect(&self) -> bool {
        self.is_broken(TransportError::is_connect)
    }

    /// Whether TLS failed, most often for a certificate that is not accepted.
    pub fn is_tls(&self) -> bool {
        self.is_broken(TransportError::is_tls)
    }

    /// Whether the answer was too large for the [limit](super::OAuth2Login::body_limit), or its head for the HTTP client.
    pub fn is_too_large(&self) -> bool {
        self.is_broken(TransportError::is_too_large)
    }

    /// Whether an answer was not as the standard has it, or had a token that no header can hold.
    pub fn is_malformed(&self) -> bool {
        matches!(self.0.kind, Kind::InvalidResponse(_) | Kind::InvalidToken(_) | Kind::TokenType(_) | Kind::Metadata(_))
    }

    /// Whether the server refuses the refresh token, the assertion or the password (`invalid_grant`).
    pub fn is_invalid_grant(&self) -> bool {
        self.code() == Some("invalid_grant")
    }
}

impl From<OAuth2Error> for LoginError {
    fn from(error: OAuth2Error) -> Self {
        let retry_after = match &error.0.kind {
            Kind::Assertion(cause) => cause.retry_after(),
            _ => error.retry_after(),
        };
        let error = if error.is_permanent() { Self::permanent(error) } else { Self::transient(error) };
        match retry_after {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }
}

impl fmt::Display for OAuth2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { asked, kind } = &*self.0;
        write!(f, "{asked}: ")?;
        match kind {
            Kind::Transport(broken) => broken.fmt(f),
            Kind::ErrorResponse(refusal) => refusal.fmt(f),
            Kind::Redirect(status) => write!(f, "{status}: a redirect is not followed"),
            Kind::InvalidResponse(what) => write!(f, "the answer is not as it should be: {what}"),
            Kind::InvalidToken(error) => write!(f, "the answer's token cannot be used: {error}"),
            Kind::TokenType(description) => {
                write!(f, "a token of the type {description:?} cannot be used, only Bearer")
            }
            Kind::Metadata(what) => write!(f, "the server's metadata cannot be used: {what}"),
            Kind::Store(_) => f.write_str("the store of the refresh token failed"),
            Kind::MissingRefreshToken => f.write_str("the store has no refresh token"),
            Kind::Assertion(_) => f.write_str("there is no assertion to ask with"),
            Kind::Signing(error) => error.fmt(f),
            Kind::InvalidSecret => f.write_str("the client's secret cannot be sent in a header"),
            Kind::Interrupted => f.write_str("the runtime has ended"),
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

impl fmt::Debug for OAuth2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OAuth2Error").field(&format_args!("{self}")).finish()
    }
}

impl Error for OAuth2Error {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.kind {
            Kind::Transport(broken) => broken.source(),
            Kind::InvalidToken(error) => Some(error),
            Kind::Store(error) => Some(&**error),
            Kind::Assertion(error) => Some(error),
            _ => None,
        }
    }
}
