//! [`RedirectUri`]: where the browser returns to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use url::Host;

use crate::transport::validate_url;

/// A redirect URI on the loopback (RFC 8252, section 7.3).
#[derive(Clone, Debug)]
pub(super) struct RedirectUri {
    host: String,
    /// The address to listen at. Port 0 stands for any free port.
    address: SocketAddr,
    /// As it was written: it can be empty.
    path: String,
}

impl Default for RedirectUri {
    fn default() -> Self {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        Self { host: "127.0.0.1".to_owned(), address, path: "/callback".to_owned() }
    }
}

impl RedirectUri {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        let url = validate_url(text, false).map_err(|_| InvalidRedirectUri)?;
        // Plain `http` is valid for the loopback only, and `https` for any host.
        if url.scheme() != "http" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidRedirectUri);
        }
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => ip.into(),
            Some(Host::Ipv6(ip)) => ip.into(),
            // Browsers try both addresses of `localhost`.
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        // The parser removes port 80, and adds a path.
        let (_, written) = text.split_once("//").unwrap_or_default();
        let (authority, has_path) = match written.split_once('/') {
            Some((authority, _)) => (authority, true),
            None => (written, false),
        };
        let (_, port) = authority.rsplit_once(':').unwrap_or_default();
        let port = url.port().or_else(|| port.parse().ok()).unwrap_or(0);
        Ok(Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            address: SocketAddr::new(ip, port),
            path: if has_path { url.path().to_owned() } else { String::new() },
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the path of the browser's request.
    pub(super) fn request_path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    pub(super) fn with_port(&self, port: u16) -> String {
        format!("http://{}:{port}{}", self.host, self.path)
    }
}

/// The error for a redirect URI that is not plain `http` to the loopback, or has a query or a fragment.
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{BoxError, service_fn};
/// # use tower_auth_refresh::oauth2::{AuthorizationServer, ClientAuthentication, native_app::AuthorizationCodeLogin};
/// # fn main() -> Result<(), BoxError> {
/// # let http = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
/// # let server = AuthorizationServer::discover("https://login.example.com")?;
/// # let login = AuthorizationCodeLogin::new(http, server, ClientAuthentication::public("orders-cli"));
/// let error = login.redirect_uri("https://orders.example.com/callback").unwrap_err();
/// assert_eq!(error.to_string(), "redirect URI is not plain http to the loopback without a query");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRedirectUri;

impl fmt::Display for InvalidRedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redirect URI is not plain http to the loopback without a query")
    }
}

impl std::error::Error for InvalidRedirectUri {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_listens_at_any_port_of_the_loopback() {
        let default = RedirectUri::default();
        assert_eq!(default.address().to_string(), "127.0.0.1:0");
        assert_eq!(default.with_port(7), "http://127.0.0.1:7/callback");
    }

    #[test]
    fn redirect_uri_names_the_loopback_only() {
        for (uri, address, with_port) in [
            ("http://127.0.0.1/callback", "127.0.0.1:0", "http://127.0.0.1:7/callback"),
            ("http://localhost", "127.0.0.1:0", "http://localhost:7"),
            ("http://localhost/", "127.0.0.1:0", "http://localhost:7/"),
            ("http://127.0.0.1:80/callback", "127.0.0.1:80", "http://127.0.0.1:7/callback"),
            ("http://[::1]:80", "[::1]:80", "http://[::1]:7"),
            ("http://[::1]/", "[::1]:0", "http://[::1]:7/"),
            ("http://localhost:8400/a/b", "127.0.0.1:8400", "http://localhost:7/a/b"),
            ("http://[::1]:8400/", "[::1]:8400", "http://[::1]:7/"),
        ] {
            let parsed = RedirectUri::parse(uri).unwrap();
            assert_eq!(parsed.address().to_string(), address, "{uri}");
            assert_eq!(parsed.with_port(7), with_port, "{uri}");
        }
        for uri in [
            "http://192.0.2.1/callback",
            "http://0.0.0.0/callback",
            "https://127.0.0.1/callback",
            "https://orders.example.com/callback",
            "http://localhost.example.com/",
            "http://127.0.0.1/?x=1",
            "http://127.0.0.1/#x",
            "http://jo@127.0.0.1/",
            "com.example.app:/callback",
            "urn:ietf:wg:oauth:2.0:oob",
            "",
        ] {
            assert!(RedirectUri::parse(uri).is_err(), "{uri}");
        }
    }
}
