//! [`BaseUrl`]: the URL of an Arthur API.

use std::{fmt, str::FromStr};

use url::Url;

use crate::transport::{InvalidUrl, validate_url};

/// The URL of an Arthur API: a scheme, a host and optionally a port.
///
/// The scheme defaults to `https` (`localhost:8080` is a host and a port). Passwords are sent to this URL, so plain
/// `http` is only for the loopback, unless it is [allowed](Self::danger_parse_plaintext).
///
/// ```
/// use tower_auth_refresh::arthur::BaseUrl;
///
/// assert_eq!(BaseUrl::parse("arthur.example")?.as_str(), "https://arthur.example");
/// assert_eq!(BaseUrl::parse("HTTP://localhost:8080/")?.as_str(), "http://localhost:8080");
/// assert!(BaseUrl::parse("http://arthur.example").is_err());
/// assert!(BaseUrl::parse("https://arthur.example/api/v3").is_err());
/// # Ok::<(), tower_auth_refresh::arthur::InvalidBaseUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Parses a base URL, which can end in one slash.
    ///
    /// # Errors
    ///
    /// Fails if the URL
    ///
    /// * is empty, or contains white space, a control character or a backslash;
    /// * has a path, a query, a fragment or user information;
    /// * has a scheme other than `https` and `http`;
    /// * has an invalid host or port. A host must be written as it is: without `%`, an IPv4 address as four decimal
    ///   numbers, a name of letters, digits, hyphens and underscores;
    /// * is plain `http` to a host other than the loopback.
    pub fn parse(url: &str) -> Result<Self, InvalidBaseUrl> {
        check(url, false).map(|url| Self::of(&url)).map_err(InvalidBaseUrl)
    }

    /// Parses a base URL that can be plain `http` to any host. Others on the network can read the password.
    ///
    /// # Errors
    ///
    /// Fails as [`parse`](Self::parse) does, except for plain `http`.
    pub fn danger_parse_plaintext(url: &str) -> Result<Self, InvalidBaseUrl> {
        check(url, true).map(|url| Self::of(&url)).map_err(InvalidBaseUrl)
    }

    fn of(url: &Url) -> Self {
        Self(url.origin().ascii_serialization())
    }

    /// Returns the normalized URL without a slash at the end: an origin (RFC 6454, section 6.2).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str, allow_plaintext: bool) -> Result<Url, Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    let has_scheme = text.contains("://");
    // Without its slashes, a scheme would be the host: `https:x`.
    let first = text.split([':', '/']).next().unwrap_or_default();
    if !has_scheme && (first.eq_ignore_ascii_case("https") || first.eq_ignore_ascii_case("http")) {
        return Err(Reason::Url(InvalidUrl::Host));
    }
    let absolute = if has_scheme { text.to_owned() } else { format!("https://{text}") };
    let url = validate_url(&absolute, allow_plaintext).map_err(|error| match error {
        // `mailto:jo` and `localhost:http` look alike.
        InvalidUrl::Port if !has_scheme => Reason::SchemeOrPort,
        error => Reason::Url(error),
    })?;
    // The parser corrects a path such as `/..`, so the text is checked.
    let rest = absolute.split_once("://").map_or("", |(_, rest)| rest);
    let after = rest.find(['/', '?', '#']).and_then(|end| rest.get(end..)).unwrap_or_default();
    match after.strip_prefix('/').unwrap_or(after).chars().next() {
        None => Ok(url),
        Some('?') => Err(Reason::Query),
        Some('#') => Err(Reason::Fragment),
        Some(_) => Err(Reason::Path),
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(url: &str) -> Result<Self, InvalidBaseUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error of a text that is not a valid [`BaseUrl`]. It does not show the text, which can contain a password.
///
/// ```
/// use tower_auth_refresh::arthur::BaseUrl;
///
/// let error = BaseUrl::parse("https://jo:s3cr3t@arthur.example").unwrap_err();
/// assert_eq!(error.to_string(), "base URL contains a user name or a password");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBaseUrl(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Empty,
    Url(InvalidUrl),
    SchemeOrPort,
    Path,
    Query,
    Fragment,
}

impl fmt::Display for InvalidBaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base URL ")?;
        f.write_str(match self.0 {
            Reason::Url(error) => return error.fmt(f),
            Reason::Empty => "is empty",
            Reason::SchemeOrPort => {
                "has neither the scheme https nor http, or a port that is not a number from 1 to 65535"
            }
            Reason::Path => "has a path",
            Reason::Query => "has a query",
            Reason::Fragment => "has a fragment",
        })
    }
}

impl std::error::Error for InvalidBaseUrl {}
