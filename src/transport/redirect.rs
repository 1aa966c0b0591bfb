//! [`Redirect`]: a redirect that was not followed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Uri, header::LOCATION, response::Parts};
use url::Url;

use super::{redact::redact, server_time::retry_after};
use crate::BoxError;

/// A redirect that was not followed: the target has another origin, or the request would lose its method and its body.
/// Or one that reqwest has followed without the body.
pub(crate) struct Redirect {
    /// `None`: the HTTP service has followed it.
    pub(crate) status: Option<StatusCode>,
    /// The target's origin only: its path and query can hold secrets.
    origin: Option<String>,
    too_many: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl Redirect {
    /// Reads the redirect of a response to a request.
    #[cfg_attr(
        not(feature = "reqwest"),
        expect(unused_variables, reason = "the method matters to reqwest only")
    )]
    pub(super) fn of_response(
        head: &Parts,
        method: &Method,
        uri: &Uri,
        secrets: &[&str],
        now: SystemTime,
    ) -> Option<Self> {
        let retry_after = retry_after(&head.headers, now);
        #[cfg(feature = "reqwest")]
        if let Some(redirect) = Self::of_lost_body(head, method, secrets, retry_after) {
            return Some(redirect);
        }
        // 304 is the response to a conditional request.
        if !head.status.is_redirection() || head.status == StatusCode::NOT_MODIFIED {
            return None;
        }
        let location = head.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let origin = location.and_then(|location| origin(location, uri, secrets));
        Some(Self { status: Some(head.status), origin, too_many: false, retry_after })
    }

    /// Detects that reqwest has followed a redirect of a POST, and received an error. It cannot send the body again, so
    /// it has sent a GET.
    #[cfg(feature = "reqwest")]
    fn of_lost_body(
        head: &Parts,
        method: &Method,
        secrets: &[&str],
        retry_after: Option<Duration>,
    ) -> Option<Self> {
        let crate::reqwest_client::RedirectedTo(url) = head.extensions.get()?;
        if method != Method::POST || head.status.is_success() {
            return None;
        }
        let origin = shown_origin(url, secrets);
        Some(Self { status: None, origin, too_many: false, retry_after })
    }

    /// Reads the error of an HTTP client that followed too many redirects.
    #[cfg_attr(
        not(feature = "http-client"),
        expect(unused_variables, reason = "the error is the HTTP client's")
    )]
    pub(super) fn of_error(error: &BoxError, uri: &Uri, secrets: &[&str]) -> Option<Self> {
        #[cfg(feature = "http-client")]
        {
            use crate::{error::chain, http_client::TooManyRedirects};
            let error =
                chain(&**error).find_map(|cause| cause.downcast_ref::<TooManyRedirects>())?;
            let origin = origin(&error.location().to_string(), uri, secrets);
            let status = Some(error.status());
            Some(Self { status, origin, too_many: true, retry_after: None })
        }
        #[cfg(not(feature = "http-client"))]
        None
    }
}

fn origin(location: &str, uri: &Uri, secrets: &[&str]) -> Option<String> {
    shown_origin(&Url::parse(&uri.to_string()).ok()?.join(location).ok()?, secrets)
}

fn shown_origin(url: &Url, secrets: &[&str]) -> Option<String> {
    let origin = url.origin();
    origin.is_tuple().then(|| redact(origin.ascii_serialization().as_bytes(), secrets))
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, origin, too_many, .. } = self;
        if let Some(status) = status {
            write!(f, "{status}: ")?;
        }
        match origin {
            None => f.write_str("redirect without a valid location"),
            Some(origin) if *too_many => write!(f, "too many redirects, last to {origin}"),
            Some(origin) if status.is_none() => {
                write!(f, "redirect to {origin} followed without the body")
            }
            Some(origin) => write!(f, "redirect to {origin} not followed"),
        }
    }
}
