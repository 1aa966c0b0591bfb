//! [`ArthurError`]: why an endpoint had no answer.

use std::{fmt, time::Duration};

use http::{StatusCode, header::LOCATION, response::Parts};
use url::Url;

use super::BaseUrl;
use crate::{
    InvalidToken,
    exchange::{Broken, excerpt},
};

/// How many organizations an error names.
const LISTED: usize = 20;

/// Why an exchange with the Arthur API failed.
///
/// It says what was asked and what went wrong. It holds neither the password nor the token that was sent. Of what a
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
    asked: String,
    kind: Kind,
}

pub(super) enum Kind {
    Broken(Broken),
    /// The login was answered 401 or 403.
    WrongCredentials(Refusal),
    /// Any other status than 2xx and a redirect.
    Refused(Refusal),
    Redirect {
        status: StatusCode,
        origin: Option<String>,
    },
    /// serde's own error may quote the answer, so only the place is kept.
    NotTheJson {
        line: usize,
        column: usize,
    },
    NoToken,
    InvalidToken(InvalidToken),
    #[cfg(feature = "arthur-jwt-verify")]
    Signature(super::signature::Unverified),
    SeveralOrganizations {
        ids: Vec<String>,
        shown: String,
    },
}

/// What a server that refuses says.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) said: String,
    pub(super) retry_after: Option<Duration>,
}

impl Kind {
    /// A redirect to the origin of `Location`. Its path and query may hold secrets, and its host could.
    pub(super) fn redirect(head: &Parts, base_url: &BaseUrl, secret: &str) -> Self {
        let origin = head.headers.get(LOCATION).and_then(|location| {
            let target = Url::parse(base_url.as_str()).ok()?.join(location.to_str().ok()?).ok()?;
            let origin = target.origin().ascii_serialization();
            Some(excerpt(origin.as_bytes(), &[secret]))
        });
        Self::Redirect { status: head.status, origin }
    }

    pub(super) fn several_organizations(ids: Vec<String>, secret: &str) -> Self {
        let shown = ids.iter().take(LISTED);
        let mut shown: Vec<String> = shown.map(|id| excerpt(id.as_bytes(), &[secret])).collect();
        if ids.len() > LISTED {
            shown.push("…".to_owned());
        }
        let shown = shown.join(", ");
        Self::SeveralOrganizations { ids, shown }
    }

    pub(super) fn json(error: &serde_json::Error) -> Self {
        Self::NotTheJson { line: error.line(), column: error.column() }
    }
}

impl ArthurError {
    pub(super) fn new(asked: String, kind: Kind) -> Self {
        Self(Box::new(Inner { asked, kind }))
    }

    /// A login's answer of 401 or 403 is about the credentials.
    pub(super) fn of_login(mut self) -> Self {
        self.0.kind = match self.0.kind {
            Kind::Refused(refusal) if matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Kind::WrongCredentials(refusal)
            }
            other => other,
        };
        self
    }

    fn refusal(&self) -> Option<&Refusal> {
        match &self.0.kind {
            Kind::WrongCredentials(refusal) | Kind::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    fn is_broken(&self, so: impl Fn(&Broken) -> bool) -> bool {
        matches!(&self.0.kind, Kind::Broken(broken) if so(broken))
    }

    /// Whether the login was answered 401 or 403: trying again is no use.
    pub fn is_wrong_credentials(&self) -> bool {
        matches!(self.0.kind, Kind::WrongCredentials(_))
    }

    /// The status, where the answer's was not 2xx.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.0.kind {
            Kind::Redirect { status, .. } => Some(*status),
            _ => self.refusal().map(|refusal| refusal.status),
        }
    }

    /// How long the server wants to be left alone, where it said so (`Retry-After`, RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|refusal| refusal.retry_after)
    }

    /// Whether time ran out: the exchange's own ([`ArthurApi::timeout`](super::ArthurApi::timeout)), or the
    /// connection's.
    pub fn is_timeout(&self) -> bool {
        self.is_broken(Broken::is_timeout)
    }

    /// Whether there was no connection: no such host, refused, unreachable. TLS has its [own](Self::is_tls) predicate.
    pub fn is_connect(&self) -> bool {
        self.is_broken(Broken::is_connect)
    }

    /// Whether the host's name was not resolved. Such an error is also one [to connect](Self::is_connect).
    pub fn is_dns(&self) -> bool {
        self.is_broken(Broken::is_dns)
    }

    /// Whether TLS failed, most often for a certificate that is not accepted.
    pub fn is_tls(&self) -> bool {
        self.is_broken(Broken::is_tls)
    }

    /// Whether the other side spoke something else: no TLS on an `https` URL, or no HTTP on an `http` one.
    pub fn is_protocol(&self) -> bool {
        self.is_broken(Broken::is_protocol)
    }

    /// Whether the connection was closed or reset before the answer was whole.
    pub fn is_closed(&self) -> bool {
        self.is_broken(Broken::is_closed)
    }

    /// Whether the answer was a redirect: one to another origin, or one too many.
    pub fn is_redirect(&self) -> bool {
        matches!(self.0.kind, Kind::Redirect { .. })
    }

    /// Whether the answer was too large: its body for the [limit](super::ArthurApi::body_limit), or its head for the
    /// HTTP client.
    pub fn is_too_large(&self) -> bool {
        self.is_broken(Broken::is_too_large)
    }

    /// Whether the login's answer had no token.
    pub fn is_no_token(&self) -> bool {
        matches!(self.0.kind, Kind::NoToken)
    }

    /// Whether the login's answer had a token that may not be used: no header can hold it, or its signature is wrong.
    pub fn is_invalid_token(&self) -> bool {
        match self.0.kind {
            Kind::InvalidToken(_) => true,
            #[cfg(feature = "arthur-jwt-verify")]
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
        let Inner { asked, kind } = &*self.0;
        write!(f, "{asked}: ")?;
        match kind {
            Kind::Broken(broken) => broken.fmt(f),
            Kind::WrongCredentials(refusal) => write!(f, "wrong credentials ({refusal})"),
            Kind::Refused(refusal) => refusal.fmt(f),
            Kind::Redirect { status, origin } => match origin {
                Some(origin) => write!(f, "{status}: a redirect to {origin} is not followed"),
                None => write!(f, "{status}: a redirect to nowhere"),
            },
            Kind::NotTheJson { line, column } => {
                write!(f, "the answer is not the JSON expected (line {line}, column {column})")
            }
            Kind::NoToken => f.write_str("the login answer had no token"),
            Kind::InvalidToken(error) => {
                write!(f, "the login answer's token cannot be used: {error}")
            }
            #[cfg(feature = "arthur-jwt-verify")]
            Kind::Signature(error) => write!(f, "the login answer's token is not genuine: {error}"),
            Kind::SeveralOrganizations { shown, .. } => {
                write!(f, "the user has several organizations: {shown}")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(f, " {reason}")?;
        }
        if !self.said.is_empty() {
            write!(f, ": {}", self.said)?;
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
            Kind::Broken(broken) => broken.source(),
            Kind::InvalidToken(error) => Some(error),
            #[cfg(feature = "arthur-jwt-verify")]
            Kind::Signature(error) => Some(error),
            _ => None,
        }
    }
}
