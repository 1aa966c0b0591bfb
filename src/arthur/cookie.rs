//! Reads the token from the cookie that a login sets.

use std::time::{Duration, SystemTime};

use ::cookie::Cookie;
use http::{HeaderMap, header::SET_COOKIE};

const NAME: &str = "Authorization";
const BEARER: &str = "bearer";

/// Returns the value of the last cookie named `Authorization`, without quotes, `Bearer` and spaces around it.
///
/// Returns `None` if the cookie is missing or empty, or has expired by `now`: an expired cookie deletes the token.
pub(super) fn token(headers: &HeaderMap, now: SystemTime) -> Option<String> {
    let cookie = headers
        .get_all(SET_COOKIE)
        .iter()
        // Bytes that are not UTF-8 become characters that are invalid in a header, and fail later.
        .filter_map(|value| Cookie::parse(String::from_utf8_lossy(value.as_bytes())).ok())
        .rfind(|cookie| cookie.name() == NAME)
        .filter(|cookie| !has_expired(cookie, now))?;
    let token = unquoted(strip_bearer(cookie.value_trimmed().trim()).trim());
    (!token.is_empty()).then(|| token.to_owned())
}

/// `Max-Age` has precedence over `Expires` (RFC 6265, section 5.3).
fn has_expired(cookie: &Cookie<'_>, now: SystemTime) -> bool {
    if let Some(age) = cookie.max_age() {
        return !age.is_positive();
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    cookie
        .expires_datetime()
        .is_some_and(|end| i128::from(end.unix_timestamp()) <= i128::from(now.as_secs()))
}

/// In `Bearer "…"`, the quotes are part of the value and not of the cookie's syntax.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).trim()
}

fn strip_bearer(value: &str) -> &str {
    match value.split_at_checked(BEARER.len()) {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(BEARER)
                && (rest.is_empty() || rest.starts_with(char::is_whitespace)) =>
        {
            rest
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// 2024-01-01T00:00:00Z
    const NOW: Duration = Duration::from_secs(1_704_067_200);

    #[track_caller]
    fn found(cookies: &[&'static str]) -> Option<String> {
        let headers =
            cookies.iter().map(|cookie| (SET_COOKIE, HeaderValue::from_static(cookie))).collect();
        token(&headers, SystemTime::UNIX_EPOCH + NOW)
    }

    #[test]
    fn token_is_found_with_any_attributes_and_quotes() {
        for cookie in [
            "Authorization=a.b.c",
            "Authorization=a.b.c; HttpOnly; Secure; SameSite=None; Path=/",
            "Authorization=a.b.c; Expires=Wed, 01 Jan 2025 00:00:00 GMT",
            "Authorization=a.b.c; Expires=Wed, 01-Jan-2025 00:00:00 GMT",
            "Authorization=a.b.c; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "Authorization=a.b.c; Max-Age=soon",
            "Authorization=a.b.c; Expires=tomorrow",
            "Authorization=a.b.c; Colour=red; ;",
            "  Authorization  =  a.b.c  ",
            "Authorization=\"a.b.c\"",
            "Authorization=\" a.b.c \"",
            "Authorization=Bearer a.b.c",
            "Authorization=\"bEARER   a.b.c\"; HttpOnly",
            "Authorization=Bearer \"a.b.c\"; HttpOnly",
            "Authorization=\"Bearer \" a.b.c \"\"",
        ] {
            assert_eq!(found(&[cookie]).as_deref(), Some("a.b.c"), "{cookie}");
        }
    }

    #[test]
    fn token_that_starts_with_bearer_is_kept() {
        assert_eq!(found(&["Authorization=bearer1"]).as_deref(), Some("bearer1"));
    }

    #[test]
    fn last_cookie_of_the_name_counts() {
        let cookies = ["x=1", "Authorization=old", "Authorization2=no", "Authorization=new", "y=2"];
        assert_eq!(found(&cookies).as_deref(), Some("new"));
        assert_eq!(found(&["Authorization=old", "Authorization=; Max-Age=0"]), None);
    }

    #[test]
    fn missing_empty_or_expired_cookie_has_no_token() {
        for cookie in [
            "session=a.b.c",
            "authorization=a.b.c",
            "Authorization",
            "Authorization=",
            "Authorization=\"\"",
            "Authorization=Bearer",
            "Authorization=Bearer ",
            "Authorization=Bearer \"\"",
            "Authorization=a.b.c; Max-Age=0",
            "Authorization=a.b.c; Max-Age=-1",
            "Authorization=a.b.c; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "",
            ";",
        ] {
            assert_eq!(found(&[cookie]), None, "{cookie}");
        }
        assert_eq!(found(&[]), None);
    }
}
