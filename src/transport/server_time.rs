//! The times in the headers of a response.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap,
    header::{DATE, RETRY_AFTER},
};

/// Returns the time of the response by the server's clock (RFC 9110, section 6.6.1).
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// Returns the delay that the server requests: seconds, or a date (RFC 9110, section 10.2.3). A date counts from the
/// server's time, or from the local time if the response lacks it.
pub(super) fn retry_after(headers: &HeaderMap, local: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.is_empty() {
        return None;
    }
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number that is too large fails to parse.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let retry_at = httpdate::parse_http_date(value).ok()?;
    Some(retry_at.duration_since(date(headers).unwrap_or(local)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    #[track_caller]
    fn check(value: &'static str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static(value))]);
        retry_after(&headers, httpdate::parse_http_date(NOON).unwrap())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(check("120"), Some(Duration::from_secs(120)));
        assert_eq!(check("Sun, 06 Nov 1994 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(check(NOON), Some(Duration::ZERO));
        assert_eq!(
            check("Sun, 06 Nov 1994 11:00:00 GMT"),
            Some(Duration::ZERO),
            "a date in the past"
        );
    }

    #[test]
    fn large_retry_after_is_the_largest_delay() {
        assert_eq!(check("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn invalid_retry_after_is_none() {
        for value in ["", "soon", "-1", "+1", "1.5"] {
            assert_eq!(check(value), None, "{value:?}");
        }
    }
}
