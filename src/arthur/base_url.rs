//! [`BaseUrl`]: where the API is, checked before anything is sent there.

use std::{fmt, str::FromStr};

use http::Uri;
use url::{ParseError, Url};

use crate::loopback::is_loopback;

/// Where an Arthur API is: a scheme, a host and perhaps a port.
///
/// `https` is assumed where there is no scheme (`localhost:8080` is a host and its port). A password goes there, so
/// plain `http` is for the loopback only, unless it is [allowed](Self::danger_parse_plaintext).
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
    /// Parses a base URL. One slash may end it.
    ///
    /// # Errors
    ///
    /// It is empty; has white space, a path, a query, a fragment or user information; its scheme is neither
    /// `https` nor `http`; its host or port is none; or it is `http` to a host that is not the loopback. A host must
    /// be written plainly: without `%`, IPv4 addresses as four decimal numbers, and beyond ASCII letters and digits
    /// only.
    pub fn parse(url: &str) -> Result<Self, InvalidBaseUrl> {
        let url = check(url).map_err(InvalidBaseUrl)?;
        let safe = url.scheme() == "https" || url.host_str().is_some_and(is_loopback);
        if safe { Ok(Self::of(&url)) } else { Err(InvalidBaseUrl(Reason::PlainText)) }
    }

    /// Parses a base URL that may be plain `http` to any host: whoever is on the way can read the password.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), but for the last.
    pub fn danger_parse_plaintext(url: &str) -> Result<Self, InvalidBaseUrl> {
        check(url).map(|url| Self::of(&url)).map_err(InvalidBaseUrl)
    }

    fn of(url: &Url) -> Self {
        Self(url.origin().ascii_serialization())
    }

    /// The URL in its normal form, without a slash at its end: an origin (RFC 6454, section 6.2).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<Url, Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    // The parser of the `url` crate mends much in the way of browsers. What it would mend is refused first.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(Reason::Character);
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(Reason::Scheme);
    }
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    check_authority(authority)?;
    match after.strip_prefix('/').unwrap_or(after).chars().next() {
        None => {}
        Some('?') => return Err(Reason::Query),
        Some('#') => return Err(Reason::Fragment),
        Some(_) => return Err(Reason::Path),
    }
    let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|error| match error {
        // `mailto:jo` and `localhost:http` look alike.
        ParseError::InvalidPort if !text.contains("://") => Reason::SchemeOrPort,
        ParseError::InvalidPort => Reason::Port,
        _ => Reason::Host,
    })?;
    if !is_written_out(authority, &url) {
        return Err(Reason::Host);
    }
    if url.port() == Some(0) {
        return Err(Reason::Port);
    }
    match url.as_str().parse::<Uri>() {
        Ok(_) => Ok(url),
        Err(_) => Err(Reason::Host),
    }
}

fn check_authority(authority: &str) -> Result<(), Reason> {
    if authority.contains('@') {
        return Err(Reason::UserInfo);
    }
    // `https:x` has lost its slashes.
    let host = authority.split(':').next().unwrap_or_default();
    if authority.is_empty() || host.eq_ignore_ascii_case("https") || host.eq_ignore_ascii_case("http") {
        return Err(Reason::Host);
    }
    // Letters and digits are seen; what else there is beyond ASCII may be invisible.
    if authority.contains(|c: char| c == '%' || !c.is_ascii() && !c.is_alphanumeric()) {
        return Err(Reason::Host);
    }
    Ok(())
}

/// Whether the parser found the host as it was written, and did not read `127.1` or `0x7f000001` as `127.0.0.1`.
fn is_written_out(authority: &str, url: &Url) -> bool {
    let own_form = !authority.is_ascii() || authority.starts_with('[');
    let written = authority.split(':').next();
    own_form || url.host_str().zip(written).is_some_and(|(host, written)| host.eq_ignore_ascii_case(written))
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

/// Why a text is no [`BaseUrl`]. It names the trouble and does not repeat the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBaseUrl(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Empty,
    Character,
    Scheme,
    UserInfo,
    Host,
    Port,
    SchemeOrPort,
    Path,
    Query,
    Fragment,
    PlainText,
}

impl fmt::Display for InvalidBaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the base URL ")?;
        f.write_str(match self.0 {
            Reason::Empty => "is empty",
            Reason::Character => "holds a space, a control character or a backslash",
            Reason::Scheme => "has a scheme other than https and http",
            Reason::UserInfo => "holds a user name or a password: give them as credentials",
            Reason::Host => "has no valid host",
            Reason::Port => "has a port that is no number from 1 to 65535",
            Reason::SchemeOrPort => {
                "has a scheme other than https and http, or a port that is no number from 1 to 65535"
            }
            Reason::Path => "has a path: give the scheme, the host and the port only",
            Reason::Query => "has a query: give the scheme, the host and the port only",
            Reason::Fragment => "has a fragment: give the scheme, the host and the port only",
            Reason::PlainText => {
                "is plain http to a host that is not the loopback, where others can read the password: use https, or \
                 allow plain text"
            }
        })
    }
}

impl std::error::Error for InvalidBaseUrl {}
