//! [`AuthorizationServer`]: the token endpoint, or the issuer whose metadata names it.

use std::fmt;

use http::Uri;
use url::Url;

use crate::transport::{self, InvalidUrl};

/// An authorization server: its token endpoint, or the issuer whose metadata names the token endpoint.
///
/// The login sends secrets to it, so plain `http` is accepted for the loopback only.
///
/// ```
/// use tower_auth_refresh::oauth2::AuthorizationServer;
///
/// let server = AuthorizationServer::discover("https://login.example.com")?;
/// let server = AuthorizationServer::token_endpoint("https://login.example.com/oauth2/token")?;
/// assert!(AuthorizationServer::token_endpoint("http://login.example.com/oauth2/token").is_err());
/// # Ok::<(), tower_auth_refresh::oauth2::InvalidServer>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizationServer {
    pub(super) source: Source,
    pub(super) plaintext: bool,
    /// In place of the metadata's.
    #[cfg(feature = "oauth2-native-app")]
    pub(super) authorization_endpoint: Option<Uri>,
    /// In place of the metadata's.
    #[cfg(feature = "oauth2-native-app")]
    pub(super) device_authorization_endpoint: Option<Uri>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    TokenEndpoint(Uri),
    /// As it was given, because the metadata must contain the same text.
    Issuer(String),
}

impl AuthorizationServer {
    fn new(source: Source, plaintext: bool) -> Self {
        Self {
            source,
            plaintext,
            #[cfg(feature = "oauth2-native-app")]
            authorization_endpoint: None,
            #[cfg(feature = "oauth2-native-app")]
            device_authorization_endpoint: None,
        }
    }

    /// Creates a server from its token endpoint (RFC 6749, section 3.2). The URL can have a query.
    ///
    /// # Errors
    ///
    /// The URL is not absolute, has a fragment or a user name, or is neither `https` nor `http` to the loopback.
    pub fn token_endpoint(url: &str) -> Result<Self, InvalidServer> {
        Self::from_endpoint(url, false)
    }

    /// Creates a server from its token endpoint, which can be plain `http` to any host. Others on the network can read the
    /// secrets.
    ///
    /// # Errors
    ///
    /// As [`token_endpoint`](Self::token_endpoint), except for plain `http`.
    #[doc(alias = "allow_http")]
    pub fn danger_token_endpoint_plaintext(url: &str) -> Result<Self, InvalidServer> {
        Self::from_endpoint(url, true)
    }

    fn from_endpoint(url: &str, plaintext: bool) -> Result<Self, InvalidServer> {
        let (_, uri) = validate_url(url, plaintext).map_err(InvalidServer)?;
        Ok(Self::new(Source::TokenEndpoint(uri), plaintext))
    }

    /// Creates a server from its issuer, whose metadata names the token endpoint.
    ///
    /// The first login reads the metadata from `.well-known/oauth-authorization-server` (RFC 8414, section 3). If this
    /// metadata is not usable, for any cause, it reads `.well-known/openid-configuration` (OpenID Connect Discovery
    /// 1.0, section 4). The metadata must name this issuer. It is read again if the endpoint cannot be reached or no
    /// longer exists.
    ///
    /// # Errors
    ///
    /// As [`token_endpoint`](Self::token_endpoint), or the issuer has a query.
    pub fn discover(issuer: &str) -> Result<Self, InvalidServer> {
        Self::from_issuer(issuer, false)
    }

    /// Creates a server from its issuer, which can be plain `http` to any host, like its token endpoint. Others on the
    /// network can read the secrets.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover), except for plain `http`.
    #[doc(alias = "allow_http")]
    pub fn danger_discover_plaintext(issuer: &str) -> Result<Self, InvalidServer> {
        Self::from_issuer(issuer, true)
    }

    fn from_issuer(issuer: &str, plaintext: bool) -> Result<Self, InvalidServer> {
        let (url, _) = validate_url(issuer, plaintext).map_err(InvalidServer)?;
        if url.query().is_some() {
            return Err(InvalidServer(Reason::Query));
        }
        // The issuer is requested as it was given, and not as the parser has corrected it.
        if metadata_urls(issuer).iter().any(|url| url.parse::<Uri>().is_err()) {
            return Err(InvalidServer(Reason::Url(InvalidUrl::Host)));
        }
        Ok(Self::new(Source::Issuer(issuer.to_owned()), plaintext))
    }
}

/// Returns the places of an issuer's metadata, in the order to try.
pub(super) fn metadata_urls(issuer: &str) -> Vec<String> {
    let issuer = issuer.trim_end_matches('/');
    let path = issuer
        .find("://")
        .and_then(|scheme| issuer.get(scheme + 3..)?.find('/').map(|path| scheme + 3 + path));
    let (origin, path) = issuer.split_at(path.unwrap_or(issuer.len()));
    vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{issuer}/.well-known/openid-configuration"),
    ]
}

pub(super) fn validate_url(text: &str, plaintext: bool) -> Result<(Url, Uri), Reason> {
    let url = transport::validate_url(text, plaintext).map_err(Reason::Url)?;
    // An issuer is compared as it is written, so its scheme must be in lower case.
    if !text.starts_with("http") {
        return Err(Reason::Url(InvalidUrl::Scheme));
    }
    if url.fragment().is_some() {
        return Err(Reason::Fragment);
    }
    let uri = url.as_str().parse().map_err(|_| Reason::Url(InvalidUrl::Host))?;
    Ok((url, uri))
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            // A query can contain a key.
            Source::TokenEndpoint(uri) => {
                write!(f, "AuthorizationServer({}{})", origin(uri), uri.path())
            }
            Source::Issuer(issuer) => write!(f, "AuthorizationServer({issuer})"),
        }
    }
}

/// Returns the scheme and authority.
pub(super) fn origin(uri: &Uri) -> String {
    format!(
        "{}://{}",
        uri.scheme_str().unwrap_or_default(),
        uri.authority().map_or("", |authority| authority.as_str())
    )
}

/// The error for a URL to which no secret may be sent. It names the cause and never the URL.
///
/// ```
/// use tower_auth_refresh::oauth2::AuthorizationServer;
///
/// let error = AuthorizationServer::discover("http://login.example.com").unwrap_err();
/// assert_eq!(error.to_string(), "URL is plain http to a host that is not the loopback");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServer(pub(super) Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Url(InvalidUrl),
    Query,
    Fragment,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(error) => return error.fmt(f),
            Self::Query => "contains a query",
            Self::Fragment => "contains a fragment",
        })
    }
}

impl fmt::Display for InvalidServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "URL {}", self.0)
    }
}

impl std::error::Error for InvalidServer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_goes_to_https_and_loopback_only() {
        let server = AuthorizationServer::token_endpoint;
        assert!(server("https://as.example/token?api-version=1").is_ok());
        assert!(server("http://127.0.0.1:8080/token").is_ok());
        assert!(
            AuthorizationServer::danger_token_endpoint_plaintext("http://as.example/token").is_ok()
        );
        for (url, reason) in [
            ("http://as.example/token", Reason::Url(InvalidUrl::Plaintext)),
            ("https://as.example/token#x", Reason::Fragment),
            ("https://jo:s3cr3t@as.example/token", Reason::Url(InvalidUrl::UserInfo)),
            ("https://as.example/to ken", Reason::Url(InvalidUrl::Character)),
            ("as.example/token", Reason::Url(InvalidUrl::Scheme)),
            ("ftp://as.example/token", Reason::Url(InvalidUrl::Scheme)),
            ("", Reason::Url(InvalidUrl::Scheme)),
        ] {
            assert_eq!(server(url), Err(InvalidServer(reason)), "{url}");
        }
        assert_eq!(
            AuthorizationServer::discover("https://as.example/?x"),
            Err(InvalidServer(Reason::Query))
        );
        for (issuer, reason) in [
            ("https:as.example", InvalidUrl::Scheme),
            ("https:///as.example", InvalidUrl::Host),
            ("https://b\u{fc}cher.example", InvalidUrl::Host),
            ("HTTPS://as.example", InvalidUrl::Scheme),
            ("https://h;p", InvalidUrl::Host),
        ] {
            assert_eq!(
                AuthorizationServer::discover(issuer),
                Err(InvalidServer(Reason::Url(reason))),
                "{issuer}"
            );
        }
    }

    #[test]
    fn metadata_urls_follow_both_standards() {
        for (issuer, urls) in [
            (
                "https://as.example",
                [
                    "https://as.example/.well-known/oauth-authorization-server",
                    "https://as.example/.well-known/openid-configuration",
                ],
            ),
            (
                "https://as.example/",
                [
                    "https://as.example/.well-known/oauth-authorization-server",
                    "https://as.example/.well-known/openid-configuration",
                ],
            ),
            (
                "https://as.example/a/b",
                [
                    "https://as.example/.well-known/oauth-authorization-server/a/b",
                    "https://as.example/a/b/.well-known/openid-configuration",
                ],
            ),
        ] {
            assert_eq!(metadata_urls(issuer), urls);
        }
    }
}
