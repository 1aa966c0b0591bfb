//! [`NativeAppErrorKind`]: why a person's login returned no tokens, apart from a failed request.

use std::{fmt, io, time::Duration};

pub(in crate::oauth2) enum NativeAppErrorKind {
    /// The endpoint is not known: the server was created from its token endpoint.
    MissingEndpoint(&'static str),
    /// The metadata lists the methods of PKCE, and `S256` is not among them.
    NoS256,
    /// The operating system returned no random bytes.
    NoRandomBytes,
    /// The response of the device authorization endpoint, and why it is invalid.
    InvalidDeviceAuthorization(String),
    /// The future was polled outside of a tokio runtime.
    NoRuntime,
    /// The listener for the redirect failed.
    Listener(io::Error),
    /// The redirect, and why it is invalid.
    InvalidRedirect(&'static str),
    /// The person or the server has refused the login.
    Refused { code: String, description: String },
    /// The time for the login has elapsed.
    Expired(Duration),
    /// The token response has no refresh token to save.
    NoRefreshToken,
}

impl NativeAppErrorKind {
    /// The person has refused the login.
    pub(super) fn denied(code: &str) -> Self {
        Self::Refused { code: code.to_owned(), description: String::new() }
    }

    pub(in crate::oauth2) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns whether the same login fails again, unless a person acts.
    pub(in crate::oauth2) fn is_permanent(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                !matches!(&**code, "server_error" | "temporarily_unavailable")
            }
            Self::MissingEndpoint(_) | Self::NoS256 | Self::Expired(_) | Self::NoRefreshToken => {
                true
            }
            Self::NoRandomBytes
            | Self::NoRuntime
            | Self::InvalidDeviceAuthorization(_)
            | Self::Listener(_)
            | Self::InvalidRedirect(_) => false,
        }
    }

    pub(in crate::oauth2) fn is_invalid_response(&self) -> bool {
        matches!(self, Self::InvalidDeviceAuthorization(_) | Self::InvalidRedirect(_))
    }
}

impl fmt::Display for NativeAppErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingEndpoint(name) => write!(f, "{name} is not set"),
            Self::NoS256 => f.write_str("server does not support PKCE with S256"),
            Self::NoRandomBytes => f.write_str("random bytes are not available"),
            Self::NoRuntime => f.write_str("tokio runtime missing"),
            Self::InvalidDeviceAuthorization(cause) => {
                write!(f, "invalid device authorization response: {cause}")
            }
            Self::Listener(error) => write!(f, "listener for the redirect failed: {error}"),
            Self::InvalidRedirect(cause) => write!(f, "invalid redirect: {cause}"),
            Self::Refused { code, description } if description.is_empty() => f.write_str(code),
            Self::Refused { code, description } => write!(f, "{code}: {description}"),
            Self::Expired(limit) => write!(f, "login not completed within {limit:?}"),
            Self::NoRefreshToken => f.write_str(
                "refresh token missing in the token response \
                 (the server may require the scope offline_access, prompt=consent or access_type=offline)",
            ),
        }
    }
}
