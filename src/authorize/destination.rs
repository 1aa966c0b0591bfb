//! Where a token may go.

use std::fmt;

use http::{Uri, uri::Scheme};

use crate::loopback::is_loopback;

/// The token was not sent, since its request would have carried it where others can read it.
///
/// Tokens go to `https`, and in plain text to the loopback only (RFC 6750, section 5.3, asks for TLS). See
/// [`AuthRefreshLayer::allow_plain_text`](crate::AuthRefreshLayer::allow_plain_text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsafeDestination {
    /// The scheme is not `https`, and the host is not the loopback.
    PlainText,
    /// The URI has no scheme or no host, so that nobody can tell where the request goes.
    Unknown,
}

/// Where the tokens of one layer may go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Destinations {
    pub(crate) plain_text: bool,
}

impl Destinations {
    #[inline]
    pub(crate) fn check(self, uri: &Uri) -> Result<(), UnsafeDestination> {
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Ok(()),
            _ if self.plain_text => Ok(()),
            Some(_) if uri.host().is_some_and(is_loopback) => Ok(()),
            Some(_) => Err(UnsafeDestination::PlainText),
            None => Err(UnsafeDestination::Unknown),
        }
    }
}

impl fmt::Display for UnsafeDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlainText => "a token may not go over plain text to a host that is not the loopback",
            Self::Unknown => "a token may not go to a URI without a scheme and a host",
        })
    }
}

impl std::error::Error for UnsafeDestination {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &'static str) -> Result<(), UnsafeDestination> {
        Destinations::default().check(&Uri::from_static(uri))
    }

    #[test]
    fn a_token_goes_to_https_and_to_the_loopback() {
        for uri in [
            "https://example.com/",
            "HTTPS://example.com:8443/a?b",
            "http://127.0.0.1:3000/",
            "http://127.8.9.10/",
            "http://[::1]:3000/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost/",
            "http://LOCALHOST:80/",
            "http://api.localhost./",
        ] {
            assert_eq!(check(uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn a_token_does_not_go_in_plain_text_elsewhere() {
        for uri in [
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://notlocalhost/",
            "http://127.0.0.1@example.com/",
            "http://localhost:80@example.com/",
            "http://[::2]/",
            "http://10.0.0.1/",
            "ws://example.com/",
        ] {
            assert_eq!(check(uri), Err(UnsafeDestination::PlainText), "{uri}");
        }
    }

    #[test]
    fn a_token_does_not_go_where_nobody_can_tell() {
        for uri in ["/path", "example.com:443", "*"] {
            assert_eq!(check(uri), Err(UnsafeDestination::Unknown), "{uri}");
        }
    }
}
