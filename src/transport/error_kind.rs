//! [`TransportErrorKind`]: what failed below HTTP, according to an error's chain of causes.

use std::{error::Error, fmt, io};

use super::redacted_error::redacted;
use crate::error::chain;

/// Why no complete response was received.
#[cfg_attr(
    not(feature = "http-client"),
    expect(dead_code, reason = "only the HTTP client detects some of them")
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportErrorKind {
    /// The host name was not resolved.
    Dns,
    Refused,
    Reset,
    /// The connection was closed before the response was complete.
    Closed,
    /// The server reset the HTTP/2 stream, and why (RFC 9113, section 6.4).
    StreamReset(String),
    /// The server shut the HTTP/2 connection down, and why (RFC 9113, section 6.8).
    GoAway(String),
    /// The connection timed out: a timeout of the operating system, or no reply to an HTTP/2 ping.
    TimedOut,
    /// The HTTP service's own timeout: that of tokio, tower or reqwest.
    ServiceTimedOut,
    /// The server's certificate was rejected.
    Certificate {
        why: String,
        /// Whether the certificate would be accepted if it, or its root, were added.
        untrusted: bool,
    },
    /// TLS failed for another reason.
    Tls(String),
    /// The response does not follow the TLS protocol.
    NotTls,
    /// The response does not follow the HTTP protocol.
    NotHttp,
    /// The response does not follow the HTTP/2 protocol, and where it differs.
    InvalidHttp2(String),
    /// The head of the response is larger than hyper accepts.
    HeadTooLarge,
    /// The connection failed for another reason.
    Connect(String),
    /// Any other failure.
    Other(String),
}

impl TransportErrorKind {
    /// Finds the innermost known cause, which is the most specific one. Texts are redacted.
    pub(crate) fn of(error: &(dyn Error + 'static), secrets: &[&str]) -> Self {
        let innermost = chain(error).last().unwrap_or(error);
        let why = redacted(innermost, secrets);
        chain(error).filter_map(|cause| Self::known(cause, &why)).last().unwrap_or(Self::Other(why))
    }

    fn known(cause: &(dyn Error + 'static), why: &str) -> Option<Self> {
        #[cfg(feature = "http-client")]
        if let Some(kind) = Self::known_to_client(cause, why) {
            return Some(kind);
        }
        #[cfg(feature = "reqwest")]
        if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
            return match error {
                _ if error.is_timeout() => Some(Self::ServiceTimedOut),
                _ if error.is_connect() => Some(Self::Connect(why.to_owned())),
                _ => None,
            };
        }
        if cause.is::<tokio::time::error::Elapsed>() {
            return Some(Self::ServiceTimedOut);
        }
        match cause.downcast_ref::<io::Error>()?.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Some(Self::Reset),
            io::ErrorKind::UnexpectedEof => Some(Self::Closed),
            io::ErrorKind::TimedOut => Some(Self::TimedOut),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Some(Self::Connect(why.to_owned()))
            }
            _ => None,
        }
    }

    #[cfg(feature = "http-client")]
    fn known_to_client(cause: &(dyn Error + 'static), why: &str) -> Option<Self> {
        use crate::http_client;

        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(match error {
                rustls::Error::InvalidCertificate(error) => Self::Certificate {
                    why: why.to_owned(),
                    untrusted: http_client::is_untrusted(error),
                },
                rustls::Error::InvalidMessage(_) => Self::NotTls,
                _ => Self::Tls(why.to_owned()),
            });
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return match error {
                // First, because hyper counts such a head among the invalid ones.
                _ if error.is_parse_too_large() => Some(Self::HeadTooLarge),
                _ if error.is_parse() => Some(Self::NotHttp),
                _ if error.is_timeout() => Some(Self::TimedOut),
                _ if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
                    Some(Self::Closed)
                }
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return match error {
                _ if error.is_remote() && error.is_go_away() => Some(Self::GoAway(why.to_owned())),
                _ if error.is_remote() => Some(Self::StreamReset(why.to_owned())),
                _ if error.is_library() => Some(Self::InvalidHttp2(why.to_owned())),
                _ => None,
            };
        }
        if cause.is::<tower::timeout::error::Elapsed>() {
            return Some(Self::ServiceTimedOut);
        }
        if cause.is::<http_client::DnsError>() {
            return Some(Self::Dns);
        }
        cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .filter(|error| error.is_connect())
            .map(|_| Self::Connect(why.to_owned()))
    }

    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut | Self::ServiceTimedOut)
    }

    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::Dns | Self::Refused | Self::Connect(_))
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Certificate { .. } | Self::Tls(_))
    }

    pub(crate) fn is_protocol(&self) -> bool {
        matches!(self, Self::NotTls | Self::NotHttp | Self::InvalidHttp2(_))
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed | Self::Reset | Self::StreamReset(_) | Self::GoAway(_))
    }
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("host name not resolved (DNS)"),
            Self::Refused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::Closed => f.write_str("connection closed before the response was complete"),
            Self::StreamReset(why) => write!(f, "HTTP/2 stream reset by the server: {why}"),
            Self::GoAway(why) => {
                write!(f, "HTTP/2 connection shut down by the server (GOAWAY): {why}")
            }
            Self::TimedOut => f.write_str("connection timed out"),
            Self::ServiceTimedOut => f.write_str("HTTP service timed out"),
            Self::Certificate { why, untrusted: false } => {
                write!(f, "server certificate rejected: {why}")
            }
            Self::Certificate { why, untrusted: true } => write!(
                f,
                "server certificate rejected: {why} (to trust the server, add its root certificate with \
                 `add_root_certificate`)"
            ),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::NotTls => f.write_str("server does not use TLS (is it an http port?)"),
            Self::NotHttp => f.write_str("response is not HTTP (is it an https port?)"),
            Self::InvalidHttp2(why) => write!(f, "response is not valid HTTP/2: {why}"),
            Self::HeadTooLarge => f.write_str("response head too large"),
            Self::Connect(why) => write!(f, "connection failed: {why}"),
            Self::Other(why) => write!(f, "request failed: {why}"),
        }
    }
}
