//! Where a token is allowed to go.

use std::{fmt, sync::Arc};

use http::Uri;

use super::origin::Origin;
use crate::loopback::is_loopback;

/// The error for a request whose destination is not allowed to receive the token. The request was not sent.
///
/// Tokens go to `https`, and in plaintext to the loopback only (RFC 6750, section 5.3, requires TLS). See
/// [`AuthRefreshLayer::allow_plaintext`](crate::AuthRefreshLayer::allow_plaintext) and
/// [`AuthRefreshLayer::allow_origin`](crate::AuthRefreshLayer::allow_origin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsafeDestination {
    /// The scheme is not `https`, and the host is not the loopback.
    Plaintext,
    /// The URI has no scheme or no host, so the destination is not known.
    NoAuthority,
    /// The origin is not allowed.
    OriginNotAllowed,
}

impl UnsafeDestination {
    /// Returns the metric's label value.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::NoAuthority => "no_authority",
            Self::OriginNotAllowed => "origin_not_allowed",
        }
    }
}

impl fmt::Display for UnsafeDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "token must not be sent in plaintext to a host that is not the loopback",
            Self::NoAuthority => "token must not be sent to a URI without a scheme and a host",
            Self::OriginNotAllowed => "token must not be sent to an origin that is not allowed",
        })
    }
}

impl std::error::Error for UnsafeDestination {}

/// What happens to a request whose destination is not allowed to receive the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestinationPolicy {
    /// The call fails with [`Error::Destination`](crate::Error::Destination). The request is not sent.
    #[default]
    Fail,
    /// The request is sent without a token.
    SendUnauthenticated,
}

/// Where the tokens of one layer are allowed to go.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedDestinations {
    pub(crate) allow_plaintext: bool,
    /// `None`: any origin.
    origins: Option<Arc<[Origin]>>,
}

impl AllowedDestinations {
    pub(crate) fn check(&self, uri: &Uri) -> Result<(), UnsafeDestination> {
        match uri.scheme_str() {
            Some("https") => {}
            _ if self.allow_plaintext => {}
            Some(_) if uri.host().is_some_and(is_loopback) => {}
            Some(_) => return Err(UnsafeDestination::Plaintext),
            None => return Err(UnsafeDestination::NoAuthority),
        }
        match &self.origins {
            Some(origins) => check_origin(origins, uri),
            None => Ok(()),
        }
    }

    /// Returns whether the URI is `https` and has an allowed origin in the spelling of the list. [`check`](Self::check)
    /// decides about other spellings.
    #[inline]
    pub(crate) fn surely_allows(&self, uri: &Uri) -> bool {
        uri.scheme_str() == Some("https") && self.origins.as_ref().is_none_or(|origins| is_spelled(origins, uri))
    }

    pub(crate) fn allow(&mut self, origin: Origin) {
        let before = self.origins.iter().flat_map(|origins| origins.iter().cloned());
        self.origins = Some(before.chain([origin]).collect());
    }
}

fn check_origin(origins: &[Origin], uri: &Uri) -> Result<(), UnsafeDestination> {
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(UnsafeDestination::NoAuthority);
    };
    let is_allowed = origins.iter().any(|origin| origin.is_origin_of(scheme, authority));
    if is_allowed { Ok(()) } else { Err(UnsafeDestination::OriginNotAllowed) }
}

/// Returns whether the URI spells its origin as the list does. Most requests do, and this comparison parses nothing.
fn is_spelled(origins: &[Origin], uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| origins.iter().any(|origin| origin.is_https_spelled(authority.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &'static str) -> Result<(), UnsafeDestination> {
        AllowedDestinations::default().check(&Uri::from_static(uri))
    }

    #[test]
    fn https_and_loopback_are_allowed() {
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
    fn plaintext_to_another_host_is_refused() {
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
            assert_eq!(check(uri), Err(UnsafeDestination::Plaintext), "{uri}");
        }
    }

    #[test]
    fn uri_without_authority_is_refused() {
        for uri in ["/path", "example.com:443", "*"] {
            assert_eq!(check(uri), Err(UnsafeDestination::NoAuthority), "{uri}");
        }
    }

    fn allow(origins: &[&str]) -> AllowedDestinations {
        let mut destinations = AllowedDestinations::default();
        for origin in origins {
            destinations.allow(origin.parse().unwrap());
        }
        destinations
    }

    #[test]
    fn allowed_origin_matches_in_any_spelling() {
        let destinations = allow(&["https://Api.example.com", "http://[::1]:3000/", "https://[2001:db8::A]"]);
        for uri in [
            "https://api.example.com/",
            "https://api.example.com:443/a",
            "HTTPS://API.EXAMPLE.COM./",
            "https://user:secret@api.example.com/",
            "http://[::1]:3000/",
            "http://[0:0:0:0:0:0:0:1]:3000/",
            "http://[0::0001]:3000/",
            "http://[::0.0.0.1]:3000/",
            "https://[2001:DB8:0::a]/",
        ] {
            assert_eq!(destinations.check(&Uri::from_static(uri)), Ok(()), "{uri}");
        }
    }

    #[test]
    fn origin_that_is_not_allowed_is_refused() {
        let destinations = allow(&["https://api.example.com", "http://[::1]:3000"]);
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
            assert_eq!(destinations.check(&Uri::from_static(uri)), Err(UnsafeDestination::OriginNotAllowed), "{uri}");
        }
        assert_eq!(destinations.check(&Uri::from_static("/a")), Err(UnsafeDestination::NoAuthority));
        let plain = allow(&["http://api.example.com"]);
        let uri = Uri::from_static("http://api.example.com/");
        assert_eq!(plain.check(&uri), Err(UnsafeDestination::Plaintext), "an allowed origin does not allow plaintext");
    }
}
