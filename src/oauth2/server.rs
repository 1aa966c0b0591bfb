//! [`AuthorizationServer`]: where tokens are asked for.

use std::fmt;

use http::Uri;
use url::Url;

use crate::loopback::is_loopback;

/// An authorization server: its token endpoint, or the issuer whose metadata tells it.
///
/// Secrets go there, so plain `http` is for the loopback only, unless it is allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizationServer {
    pub(super) source: Source,
    pub(super) plain_text: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    TokenEndpoint(Uri),
    /// As it was given, since the metadata must say the very same.
    Issuer(String),
}

impl AuthorizationServer {
    /// A server whose token endpoint is known (RFC 6749, section 3.2). It may have a query.
    ///
    /// # Errors
    ///
    /// It is no absolute URL; its scheme is neither `https` nor, for the loopback, `http`; it has a fragment, or a user.
    pub fn token_endpoint(url: &str) -> Result<Self, InvalidServer> {
        Self::at(url, false)
    }

    /// The same, of plain `http` to any host: whoever is on the way can read the secrets.
    ///
    /// # Errors
    ///
    /// As [`token_endpoint`](Self::token_endpoint), but for the scheme.
    pub fn danger_token_endpoint_plaintext(url: &str) -> Result<Self, InvalidServer> {
        Self::at(url, true)
    }

    fn at(url: &str, plain_text: bool) -> Result<Self, InvalidServer> {
        let (_, uri) = check(url, plain_text).map_err(InvalidServer)?;
        Ok(Self { source: Source::TokenEndpoint(uri), plain_text })
    }

    /// A server whose metadata is asked for the token endpoint at the first login: at `.well-known/oauth-authorization-server`
    /// (RFC 8414, section 3), and where there is none, at `.well-known/openid-configuration` (OpenID Connect Discovery 1.0,
    /// section 4). The metadata must name this very issuer. It is asked for anew when the endpoint cannot be reached, or is no
    /// longer there.
    ///
    /// # Errors
    ///
    /// As [`token_endpoint`](Self::token_endpoint); or it has a query.
    pub fn discover(issuer: &str) -> Result<Self, InvalidServer> {
        Self::of(issuer, false)
    }

    /// The same, of plain `http` to any host, for the token endpoint too.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover), but for the scheme.
    pub fn danger_discover_plaintext(issuer: &str) -> Result<Self, InvalidServer> {
        Self::of(issuer, true)
    }

    fn of(issuer: &str, plain_text: bool) -> Result<Self, InvalidServer> {
        let (url, _) = check(issuer, plain_text).map_err(InvalidServer)?;
        if url.query().is_some() {
            return Err(InvalidServer(Reason::Query));
        }
        // As it was written, since that is what is asked: the parser may have mended it.
        if metadata_urls(issuer).iter().any(|url| url.parse::<Uri>().is_err()) {
            return Err(InvalidServer(Reason::NoUrl));
        }
        Ok(Self { source: Source::Issuer(issuer.to_owned()), plain_text })
    }
}

/// Where the metadata of an issuer may be, in the order to try.
pub(super) fn metadata_urls(issuer: &str) -> Vec<String> {
    let issuer = issuer.trim_end_matches('/');
    let path = issuer.find("://").and_then(|scheme| issuer.get(scheme + 3..)?.find('/').map(|path| scheme + 3 + path));
    let (origin, path) = issuer.split_at(path.unwrap_or(issuer.len()));
    vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{issuer}/.well-known/openid-configuration"),
    ]
}

pub(super) fn check(text: &str, plain_text: bool) -> Result<(Url, Uri), Reason> {
    // The parser of the `url` crate mends much in the way of browsers; what it would mend is refused.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(Reason::Character);
    }
    let written_out = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    if !written_out || text.contains(":///") {
        return Err(Reason::NoUrl);
    }
    let url = Url::parse(text).map_err(|_| Reason::NoUrl)?;
    let uri: Uri = url.as_str().parse().map_err(|_| Reason::NoUrl)?;
    let host = url.host_str().ok_or(Reason::NoUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if plain_text || is_loopback(host) => {}
        "http" => return Err(Reason::PlainText),
        _ => return Err(Reason::NoUrl),
    }
    if url.fragment().is_some() {
        return Err(Reason::Fragment);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Reason::UserInfo);
    }
    Ok((url, uri))
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            // A query may hold a key.
            Source::TokenEndpoint(uri) => write!(f, "AuthorizationServer({}{})", origin(uri), uri.path()),
            Source::Issuer(issuer) => write!(f, "AuthorizationServer({issuer})"),
        }
    }
}

/// Scheme and authority.
pub(super) fn origin(uri: &Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |authority| authority.as_str()))
}

/// A URL where no secret may be sent. Names the trouble, never the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServer(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Character,
    NoUrl,
    PlainText,
    Query,
    Fragment,
    UserInfo,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Character => "the URL has white space, a control character or a backslash",
            Self::NoUrl => "this is no https URL",
            Self::PlainText => "a secret may not go over plain http to a host that is not the loopback",
            Self::Query => "an issuer has no query",
            Self::Fragment => "the URL has a fragment",
            Self::UserInfo => "the URL has a user name or a password",
        })
    }
}

impl fmt::Display for InvalidServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for InvalidServer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_https_and_the_loopback_only() {
        let place = AuthorizationServer::token_endpoint;
        assert!(place("https://as.example/token?api-version=1").is_ok());
        assert!(place("http://127.0.0.1:8080/token").is_ok());
        assert!(AuthorizationServer::danger_token_endpoint_plaintext("http://as.example/token").is_ok());
        for (url, trouble) in [
            ("http://as.example/token", Reason::PlainText),
            ("https://as.example/token#x", Reason::Fragment),
            ("https://jo:s3cr3t@as.example/token", Reason::UserInfo),
            ("https://as.example/to ken", Reason::Character),
            ("as.example/token", Reason::NoUrl),
            ("ftp://as.example/token", Reason::NoUrl),
            ("", Reason::NoUrl),
        ] {
            assert_eq!(place(url), Err(InvalidServer(trouble)), "{url}");
        }
        assert_eq!(AuthorizationServer::discover("https://as.example/?x"), Err(InvalidServer(Reason::Query)));
        for issuer in ["https:as.example", "https:///as.example", "https://b\u{fc}cher.example", "HTTPS://as.example"] {
            assert_eq!(AuthorizationServer::discover(issuer), Err(InvalidServer(Reason::NoUrl)), "{issuer}");
        }
    }

    #[test]
    fn metadata_is_where_the_two_standards_have_it() {
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
