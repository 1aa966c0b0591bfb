//! Where a token may go.

use std::{fmt, str::FromStr, sync::Arc};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use crate::loopback::is_loopback;

/// The token was not sent, since its request would have carried it where it does not belong, or where others can read it.
///
/// Tokens go to `https`, and in plain text to the loopback only (RFC 6750, section 5.3, asks for TLS). See
/// [`AuthRefreshLayer::allow_plain_text`](crate::AuthRefreshLayer::allow_plain_text) and
/// [`AuthRefreshLayer::allow_origin`](crate::AuthRefreshLayer::allow_origin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsafeDestination {
    /// The scheme is not `https`, and the host is not the loopback.
    PlainText,
    /// The URI has no scheme or no host, so that nobody can tell where the request goes.
    Unknown,
    /// The origin is none of those that are allowed.
    Foreign,
}

/// Where the tokens of one layer may go, and what becomes of requests to elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations {
    pub(crate) plain_text: bool,
    /// Requests to elsewhere go out without a token, instead of not at all.
    pub(crate) pass_on: bool,
    /// `None`: any origin.
    origins: Option<Arc<[Origin]>>,
}

impl Destinations {
    pub(crate) fn check(&self, uri: &Uri) -> Result<(), UnsafeDestination> {
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => {}
            _ if self.plain_text => {}
            Some(_) if uri.host().is_some_and(is_loopback) => {}
            Some(_) => return Err(UnsafeDestination::PlainText),
            None => return Err(UnsafeDestination::Unknown),
        }
        match &self.origins {
            Some(origins) => allowed(origins, uri),
            None => Ok(()),
        }
    }

    pub(crate) fn is_narrowed(&self) -> bool {
        self.origins.is_some()
    }

    pub(crate) fn allow(&mut self, origin: Origin) {
        let before = self.origins.iter().flat_map(|origins| origins.iter().cloned());
        self.origins = Some(before.chain([origin]).collect());
    }
}

fn allowed(origins: &[Origin], uri: &Uri) -> Result<(), UnsafeDestination> {
    match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) if origins.iter().any(|origin| origin.is_of(scheme, authority)) => Ok(()),
        (Some(_), Some(_)) => Err(UnsafeDestination::Foreign),
        _ => Err(UnsafeDestination::Unknown),
    }
}

/// A scheme, a host and a port (RFC 6454, section 4).
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Authority,
}

impl Origin {
    /// Letter case, a default port left out, user information and a dot at the host's end make no difference.
    fn is_of(&self, scheme: &Scheme, authority: &Authority) -> bool {
        if self.scheme == *scheme && self.authority.as_str() == authority.as_str() {
            return true;
        }
        let port = |authority: &Authority| authority.port_u16().or_else(|| default_port(scheme));
        self.scheme == *scheme
            && host(&self.authority).eq_ignore_ascii_case(host(authority))
            && port(&self.authority) == port(authority)
            && !has_odd_port(authority)
    }
}

fn host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_suffix('.').unwrap_or(host)
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// A colon with no number of a port after it: whoever connects may read it otherwise than we do.
fn has_odd_port(authority: &Authority) -> bool {
    authority.port_u16().is_none() && authority.as_str().rsplit('@').next() != Some(authority.host())
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(origin: &str) -> Result<Self, InvalidOrigin> {
        let parts = origin.parse::<Uri>().map_err(|_| InvalidOrigin(()))?.into_parts();
        let path = parts.path_and_query.as_ref().map_or("", |path| path.as_str());
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if matches!(path, "" | "/") && !authority.as_str().contains('@') && !has_odd_port(&authority) =>
            {
                Ok(Self { scheme, authority })
            }
            _ => Err(InvalidOrigin(())),
        }
    }
}

/// This is no origin: a scheme, a host and perhaps a port, as in `https://api.example.com:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOrigin(());

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin is a scheme, a host and perhaps a port, and nothing else")
    }
}

impl std::error::Error for InvalidOrigin {}

impl fmt::Display for UnsafeDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlainText => "a token may not go over plain text to a host that is not the loopback",
            Self::Unknown => "a token may not go to a URI without a scheme and a host",
            Self::Foreign => "a token may not go to an origin that is not allowed",
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
            "http://api.localhost/",
            "http://localhost./",
            "http://127.0.0.1./",
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

    fn narrowed(origins: &[&str]) -> Destinations {
        let mut destinations = Destinations::default();
        for origin in origins {
            destinations.allow(origin.parse().unwrap());
        }
        destinations
    }

    #[test]
    fn a_token_goes_to_the_allowed_origins_however_they_are_written() {
        let destinations = narrowed(&["https://Api.example.com", "http://[::1]:3000/"]);
        for uri in [
            "https://api.example.com/",
            "https://api.example.com:443/a",
            "HTTPS://API.EXAMPLE.COM./",
            "https://user:secret@api.example.com/",
            "http://[::1]:3000/",
        ] {
            assert_eq!(destinations.check(&Uri::from_static(uri)), Ok(()), "{uri}");
        }
    }

    #[test]
    fn a_token_goes_to_no_origin_that_is_not_allowed() {
        let destinations = narrowed(&["https://api.example.com", "http://[::1]:3000"]);
        for uri in [
            "https://example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com:80/",
            "https://api.example.com.evil.com/",
            "https://evil.com/api.example.com",
            "https://evil.com/?https://api.example.com",
            "https://api.example.com@evil.com/",
            "https://api.example.com:443@evil.com/",
            "https://xn--api-example-com.evil.com/",
            "http://[::1]/",
            "http://[::1]:3001/",
            "http://127.0.0.1:3000/",
            "http://localhost:3000/",
            "https://[::1]:3000/",
        ] {
            assert_eq!(destinations.check(&Uri::from_static(uri)), Err(UnsafeDestination::Foreign), "{uri}");
        }
        assert_eq!(destinations.check(&Uri::from_static("/a")), Err(UnsafeDestination::Unknown));
        let plain = narrowed(&["http://api.example.com"]);
        let uri = Uri::from_static("http://api.example.com/");
        assert_eq!(plain.check(&uri), Err(UnsafeDestination::PlainText), "an allowed origin is no allowed plain text");
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "api.example.com",
            "https://",
            "https://api.example.com/path",
            "https://api.example.com?query",
            "https://user@api.example.com",
            "https://api.example.com:",
            "https://api.example.com:99999",
            "/",
            "*",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
