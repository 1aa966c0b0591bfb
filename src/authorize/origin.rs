//! [`Origin`]: a scheme, a host and a port (RFC 6454, section 4).

use std::{fmt, net::Ipv6Addr, str::FromStr};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

#[derive(Clone, Debug)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Authority,
    is_https: bool,
}

impl Origin {
    /// Returns whether this is an `https` origin with exactly this spelling of its authority.
    #[inline]
    pub(crate) fn is_https_spelled(&self, authority: &str) -> bool {
        self.is_https && self.authority.as_str() == authority
    }

    /// Returns whether a URI with this scheme and authority has this origin.
    ///
    /// Ignores letter case, default ports, user information, a trailing dot, and the spelling of IPv6 addresses.
    pub(crate) fn is_origin_of(&self, scheme: &Scheme, authority: &Authority) -> bool {
        let port = |authority: &Authority| authority.port_u16().or_else(|| default_port(scheme));
        self.scheme == *scheme
            && is_same_host(host(&self.authority), host(authority))
            && port(&self.authority) == port(authority)
            && !has_invalid_port(authority)
    }
}

fn host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_suffix('.').unwrap_or(host)
}

fn is_same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || ipv6(one).is_some_and(|address| Some(address) == ipv6(other))
}

/// Parses an IPv6 address in brackets, which has many spellings.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// Returns whether the authority has a colon without a valid port. Connectors differ in how they parse it.
fn has_invalid_port(authority: &Authority) -> bool {
    authority.port_u16().is_none() && authority.as_str().rsplit('@').next() != Some(authority.host())
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(origin: &str) -> Result<Self, InvalidOrigin> {
        let parts = origin.parse::<Uri>().map_err(|_| InvalidOrigin(Reason::Syntax))?.into_parts();
        let path = parts.path_and_query.as_ref().map_or("", |path| path.as_str());
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(InvalidOrigin(Reason::Syntax));
        };
        if !matches!(path, "" | "/") || authority.as_str().contains('@') || has_invalid_port(&authority) {
            return Err(InvalidOrigin(Reason::Syntax));
        }
        if default_port(&scheme).is_none() {
            return Err(InvalidOrigin(Reason::Scheme));
        }
        let host = authority.host();
        if host.contains('*') {
            return Err(InvalidOrigin(Reason::Wildcard));
        }
        if host.is_empty() || host.starts_with('[') && ipv6(host).is_none() {
            return Err(InvalidOrigin(Reason::Syntax));
        }
        Ok(Self { is_https: scheme == Scheme::HTTPS, scheme, authority })
    }
}

/// The error for a text that is not an origin: a scheme, a host and an optional port, as in
/// `https://api.example.com:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOrigin(Reason);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Syntax,
    Scheme,
    Wildcard,
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::Syntax => "origin must be a scheme, a host and an optional port",
            Reason::Scheme => "origin must have the scheme https or http",
            Reason::Wildcard => "origin must not contain a wildcard",
        })
    }
}

impl std::error::Error for InvalidOrigin {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_origin_error_names_the_cause() {
        for (text, cause) in [
            ("", "a scheme, a host"),
            ("api.example.com", "a scheme, a host"),
            ("https://", "a scheme, a host"),
            ("https://api.example.com/path", "a scheme, a host"),
            ("https://api.example.com?query", "a scheme, a host"),
            ("https://user@api.example.com", "a scheme, a host"),
            ("https://api.example.com:", "a scheme, a host"),
            ("https://api.example.com:99999", "a scheme, a host"),
            ("https://[::g]", "a scheme, a host"),
            ("/", "a scheme, a host"),
            ("*", "a scheme, a host"),
            ("ws://api.example.com", "the scheme https or http"),
            ("ftp://api.example.com", "the scheme https or http"),
            ("https://*.example.com", "a wildcard"),
            ("https://*", "a wildcard"),
        ] {
            let error = text.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
