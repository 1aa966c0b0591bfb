//! [`TransportErrorKind`]: what went wrong below HTTP, told from an error's chain of causes.

use std::{error::Error, fmt, io};

use super::redacted_error::{causes, shown};

/// Why an exchange broke off.
#[cfg_attr(not(feature = "http-client"), expect(dead_code, reason = "no TLS without it"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportErrorKind {
    /// The host's name has no address.
    Lookup,
    Refused,
    Reset,
    /// The server closed the connection too early.
    Closed,
    TimedOut,
    /// The server's certificate is not accepted, and why.
    Certificate(String),
    /// TLS failed otherwise, and why.
    Tls(String),
    /// Something that is not TLS came where TLS was to come.
    NotTls,
    /// Something that is not HTTP came where HTTP was to come.
    NotHttp,
    /// The head of the answer is larger than hyper takes.
    HeadTooLarge,
    /// No connection came about, for some other reason.
    Connect(String),
    /// Anything else.
    Other(String),
}

impl TransportErrorKind {
    /// The innermost cause that is known says the most. Texts are shown without `secrets`.
    pub(crate) fn of(error: &(dyn Error + 'static), secrets: &[&str]) -> Self {
        let innermost = causes(error).last().unwrap_or(error);
        let why = shown(innermost, secrets);
        causes(error).filter_map(|cause| Self::known(cause, &why)).last().unwrap_or(Self::Other(why))
    }

    fn known(cause: &(dyn Error + 'static), why: &str) -> Option<Self> {
        #[cfg(feature = "http-client")]
        if let Some(fault) = Self::known_to_client(cause, why) {
            return Some(fault);
        }
        match cause.downcast_ref::<io::Error>()?.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Some(Self::Reset)
            }
            io::ErrorKind::UnexpectedEof => Some(Self::Closed),
            io::ErrorKind::TimedOut => Some(Self::TimedOut),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some(Self::Connect(why.to_owned())),
            _ => None,
        }
    }

    #[cfg(feature = "http-client")]
    fn known_to_client(cause: &(dyn Error + 'static), why: &str) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(match error {
                rustls::Error::InvalidCertificate(_) => Self::Certificate(why.to_owned()),
                rustls::Error::InvalidMessage(_) => Self::NotTls,
                _ => Self::Tls(why.to_owned()),
            });
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return match error {
                // Also one that is no HTTP, as hyper sees it, and so it is asked first.
                _ if error.is_parse_too_large() => Some(Self::HeadTooLarge),
                _ if error.is_parse() => Some(Self::NotHttp),
                _ if error.is_incomplete_message() => Some(Self::Closed),
                _ => None,
            };
        }
        if cause.is::<crate::http_client::DnsError>() {
            return Some(Self::Lookup);
        }
        cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .filter(|error| error.is_connect())
            .map(|_| Self::Connect(why.to_owned()))
    }

    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::Lookup | Self::Refused | Self::Connect(_))
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Certificate(_) | Self::Tls(_))
    }

    pub(crate) fn is_protocol(&self) -> bool {
        matches!(self, Self::NotTls | Self::NotHttp)
    }
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "the host's name was not resolved (DNS)",
            Self::Refused => "the connection was refused",
            Self::Reset => "the connection was reset",
            Self::Closed => "the server closed the connection before it had answered",
            Self::TimedOut => "the connection timed out",
            Self::Certificate(why) => {
                return write!(
                    f,
                    "TLS: the server's certificate is not accepted: {why} (where that is expected, trust its root \
                     certificate, or set verify_ssl to false)"
                );
            }
            Self::Tls(why) => return write!(f, "TLS failed: {why}"),
            Self::NotTls => "the server does not speak TLS there; is it an http port?",
            Self::NotHttp => "what came is not HTTP; is it an https port?",
            Self::HeadTooLarge => "the answer's head is too large",
            Self::Connect(why) => return write!(f, "no connection could be made: {why}"),
            Self::Other(why) => return write!(f, "the exchange failed: {why}"),
        })
    }
}
