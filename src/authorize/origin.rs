//! [`Origin`]: a scheme, a host and a port (RFC 6454, section 4).

use std::{convert::Infallible, fmt, net::Ipv6Addr, str::FromStr};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use crate::loopback::is_loopback;

/// An origin: a scheme, a host and an optional port, as in `https://api.example.com:8443` (RFC 6454, section 4).
///
/// The scheme is `https` or `http`. Two spellings of one origin are equal. `Display` writes the shortest spelling: in
/// lower case, without a default port. A text or a URI converts into an origin if it has no user information, path or
/// query.
///
/// ```
/// use tower_auth_refresh::Origin;
///
/// let origin: Origin = "https://API.example.com:443".parse()?;
/// assert_eq!(origin, Origin::try_from("https://api.example.com")?);
/// assert_eq!(origin.to_string(), "https://api.example.com");
/// # Ok::<(), tower_auth_refresh::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    /// In its shortest spelling.
    authority: Authority,
    is_https: bool,
}

impl Origin {
    /// Returns the origin of a URI, and ignores its user information, path and query.
    ///
    /// ```
    /// use http::Uri;
    /// use tower_auth_refresh::Origin;
    ///
    /// let cluster = Uri::from_static("https://rancher.example.com/k8s/clusters/c-1");
    /// assert_eq!(Origin::of(&cluster)?.to_string(), "https://rancher.example.com");
    /// # Ok::<(), tower_auth_refresh::InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The URI has no scheme or host, its scheme is neither `https` nor `http`, or its host contains a wildcard.
    pub fn of(uri: &Uri) -> Result<Self, InvalidOrigin> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(InvalidOrigin(Reason::Syntax));
        };
        let Some(default_port) = default_port(scheme) else {
            return Err(InvalidOrigin(Reason::Scheme));
        };
        let host = host(authority);
        if host.contains('*') {
            return Err(InvalidOrigin(Reason::Wildcard));
        }
        if host.is_empty()
            || host.starts_with('[') && ipv6(host).is_none()
            || has_invalid_port(authority)
        {
            return Err(InvalidOrigin(Reason::Syntax));
        }
        let host =
            ipv6(host).map_or_else(|| host.to_ascii_lowercase(), |address| format!("[{address}]"));
        let authority = match authority.port_u16().filter(|port| *port != default_port) {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        let authority =
            Authority::try_from(authority).map_err(|_| InvalidOrigin(Reason::Syntax))?;
        Ok(Self { scheme: scheme.clone(), authority, is_https: *scheme == Scheme::HTTPS })
    }

    pub(crate) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns whether this is an `https` origin, and `authority` is its shortest spelling.
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

/// Returns the host without a trailing dot. `localhost.` keeps it, because that name can leave the machine.
fn host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_suffix('.').filter(|name| !is_loopback(name)).unwrap_or(host)
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
    authority.port_u16().is_none()
        && authority.as_str().rsplit('@').next() != Some(authority.host())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl TryFrom<&Uri> for Origin {
    type Error = InvalidOrigin;

    fn try_from(uri: &Uri) -> Result<Self, InvalidOrigin> {
        let origin = Self::of(uri)?;
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
        if has_user || has_path { Err(InvalidOrigin(Reason::Syntax)) } else { Ok(origin) }
    }
}

impl TryFrom<Uri> for Origin {
    type Error = InvalidOrigin;

    fn try_from(uri: Uri) -> Result<Self, InvalidOrigin> {
        Self::try_from(&uri)
    }
}

impl TryFrom<&str> for Origin {
    type Error = InvalidOrigin;

    fn try_from(origin: &str) -> Result<Self, InvalidOrigin> {
        // `Uri` drops a fragment.
        let uri = if origin.contains('#') { None } else { origin.parse::<Uri>().ok() };
        let uri = uri.ok_or(InvalidOrigin(Reason::Syntax))?;
        Self::try_from(uri)
    }
}

impl TryFrom<&String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(origin: &String) -> Result<Self, InvalidOrigin> {
        Self::try_from(origin.as_str())
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(origin: String) -> Result<Self, InvalidOrigin> {
        Self::try_from(origin.as_str())
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(origin: &str) -> Result<Self, InvalidOrigin> {
        Self::try_from(origin)
    }
}

/// The error for a text or a URI that is not an [`Origin`]. It names the cause.
///
/// ```
/// use tower_auth_refresh::Origin;
///
/// let error = Origin::try_from("https://*.example.com").unwrap_err();
/// assert_eq!(error.to_string(), "origin must not contain a wildcard");
/// ```
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

/// For functions that accept an [`Origin`], and everything that converts into one.
impl From<Infallible> for InvalidOrigin {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_origin_are_equal() {
        for (shortest, spellings) in [
            (
                "https://api.example.com",
                [
                    "https://api.example.com/",
                    "HTTPS://Api.example.com:443",
                    "https://api.example.com.",
                ],
            ),
            (
                "http://localhost:3000",
                ["http://localhost:3000/", "http://LOCALHOST:3000", "HTTP://Localhost:3000/"],
            ),
            (
                "https://[2001:db8::a]:8443",
                [
                    "https://[2001:DB8::a]:8443",
                    "https://[2001:db8:0::A]:8443",
                    "https://[2001:db8:0:0:0:0:0:a]:8443",
                ],
            ),
        ] {
            for spelling in spellings {
                let origin: Origin = spelling.parse().unwrap();
                assert_eq!(origin.to_string(), shortest, "{spelling}");
                assert_eq!(origin, Origin::try_from(spelling.to_owned()).unwrap());
                assert_eq!(Ok(origin), Origin::try_from(Uri::from_static(shortest)));
            }
        }
        let different = [
            "https://a.com",
            "http://a.com",
            "https://a.com:80",
            "https://b.com",
            "https://a.com.b",
        ];
        let origins: std::collections::HashSet<Origin> =
            different.map(|text| text.parse().unwrap()).into();
        assert_eq!(origins.len(), different.len());
    }

    #[test]
    fn origin_of_uri_ignores_user_path_and_query() {
        let uri = Uri::from_static("https://user@example.com/path?query");
        assert_eq!(Origin::of(&uri), "https://example.com".parse());
        assert!(Origin::try_from(uri).is_err());
        assert!(Origin::of(&Uri::from_static("/path")).is_err());
    }

    #[test]
    fn invalid_origin_error_names_the_cause() {
        for (text, cause) in [
            ("", "a scheme, a host"),
            ("api.example.com", "a scheme, a host"),
            ("https://", "a scheme, a host"),
            ("https://api.example.com/path", "a scheme, a host"),
            ("https://api.example.com?query", "a scheme, a host"),
            ("https://api.example.com#fragment", "a scheme, a host"),
            ("https://api.example.com/#fragment", "a scheme, a host"),
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
