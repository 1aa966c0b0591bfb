//! [`validate`]: checks a URL before a secret is sent to it.

use std::fmt;

use http::Uri;
use url::{Host, ParseError, Url};

use crate::loopback::is_loopback;

/// Why a secret must not be sent to a URL. It names the part, not the text, which can contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidUrl {
    Character,
    Scheme,
    UserInfo,
    Host,
    Port,
    Plaintext,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Character => "contains a space, a control character or a backslash",
            Self::Scheme => "has neither the scheme https nor http",
            Self::UserInfo => "contains a user name or a password",
            Self::Host => "has an invalid host",
            Self::Port => "has a port that is not a number from 1 to 65535",
            Self::Plaintext => "is plain http to a host that is not the loopback",
        })
    }
}

/// Parses an absolute `https` URL, or one of plain `http` if that is allowed or the host is the loopback.
///
/// The parser of the `url` crate corrects mistakes, as browsers do (WHATWG URL Standard). So a text that it would
/// correct is rejected first: the secret must go to the host that was written.
pub(crate) fn validate(text: &str, allow_plaintext: bool) -> Result<Url, InvalidUrl> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(InvalidUrl::Character);
    }
    let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
    let is_https = scheme.eq_ignore_ascii_case("https");
    if !is_https && !scheme.eq_ignore_ascii_case("http") {
        return Err(InvalidUrl::Scheme);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(InvalidUrl::UserInfo);
    }
    // An escaped character, and a character that may be invisible.
    if authority.is_empty()
        || authority.contains(|c: char| c == '%' || !c.is_ascii() && !c.is_alphanumeric())
    {
        return Err(InvalidUrl::Host);
    }
    let url = Url::parse(text).map_err(|error| match error {
        ParseError::InvalidPort => InvalidUrl::Port,
        _ => InvalidUrl::Host,
    })?;
    if !has_valid_host(&url, authority) || url.as_str().parse::<Uri>().is_err() {
        return Err(InvalidUrl::Host);
    }
    if url.port() == Some(0) {
        return Err(InvalidUrl::Port);
    }
    if is_https || allow_plaintext || url.host_str().is_some_and(is_loopback) {
        Ok(url)
    } else {
        Err(InvalidUrl::Plaintext)
    }
}

/// Returns whether the host is an address or a name of letters, digits, hyphens and underscores, and is written so. The
/// parser also accepts `h;p`, and reads `127.1` and `0x7f000001` as `127.0.0.1`.
fn has_valid_host(url: &Url, authority: &str) -> bool {
    let written = authority.split(':').next().unwrap_or_default();
    match url.host() {
        Some(Host::Domain(name)) => {
            let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
            let is_valid = |label: &str| {
                !label.is_empty()
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            };
            // A name beyond ASCII has another form in the URL (RFC 5890, section 2.3.2.1).
            labels.all(is_valid) && (!written.is_ascii() || name.eq_ignore_ascii_case(written))
        }
        Some(Host::Ipv4(address)) => address.to_string() == written,
        Some(Host::Ipv6(_)) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_with_other_characters_is_invalid() {
        for c in ";!$&'()*+,=~\"`{}|^".chars() {
            for host in [format!("h{c}p"), format!("{c}"), format!("h{c}:80")] {
                assert_eq!(
                    validate(&format!("https://{host}"), true),
                    Err(InvalidUrl::Host),
                    "{host}"
                );
            }
        }
        for host in [".", "..", "a..b", ".a", "a.."] {
            assert_eq!(
                validate(&format!("https://{host}/x"), true),
                Err(InvalidUrl::Host),
                "{host}"
            );
        }
    }

    #[test]
    fn host_of_names_and_addresses_is_valid() {
        for host in [
            "a",
            "a.",
            "a-b_c.example",
            "1a.example",
            "10.0.0.1",
            "[::1]",
            "b\u{fc}cher.example",
            "xn--bcher-kva.example",
        ] {
            assert!(validate(&format!("https://{host}:8443/token?x=1"), false).is_ok(), "{host}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_unless_allowed() {
        assert!(validate("http://127.0.0.1:80/x", false).is_ok());
        assert!(validate("http://[::1]/x", false).is_ok());
        assert_eq!(validate("http://a.example/x", false), Err(InvalidUrl::Plaintext));
        assert!(validate("http://a.example/x", true).is_ok());
    }
}
