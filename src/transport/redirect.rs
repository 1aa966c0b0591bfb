//! [`Redirect`]: a redirect that was not followed.

use std::fmt;

use http::{StatusCode, Uri, header::LOCATION, response::Parts};
use url::Url;

use super::redact::redact;
use crate::BoxError;

/// A redirect that was not followed: the target has another origin, or the request would lose its method and its body.
pub(crate) struct Redirect {
    pub(crate) status: StatusCode,
    /// The target's origin only: its path and query can hold secrets.
    origin: Option<String>,
    too_many: bool,
}

impl Redirect {
    /// Reads the redirect of a response to a request of `uri`.
    pub(super) fn of_response(head: &Parts, uri: &Uri, secrets: &[&str]) -> Option<Self> {
        // 304 is the response to a conditional request.
        if !head.status.is_redirection() || head.status == StatusCode::NOT_MODIFIED {
            return None;
        }
        let location = head.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let origin = location.and_then(|location| origin(location, uri, secrets));
        Some(Self { status: head.status, origin, too_many: false })
    }

    /// Reads the error of an HTTP client that followed too many redirects.
    #[cfg_attr(not(feature = "http-client"), expect(unused_variables, reason = "the error is the HTTP client's"))]
    pub(super) fn of_error(error: &BoxError, uri: &Uri, secrets: &[&str]) -> Option<Self> {
        #[cfg(feature = "http-client")]
        if let Some(error) = error.downcast_ref::<crate::http_client::TooManyRedirects>() {
            let origin = origin(&error.location().to_string(), uri, secrets);
            return Some(Self { status: error.status(), origin, too_many: true });
        }
        None
    }
}

fn origin(location: &str, uri: &Uri, secrets: &[&str]) -> Option<String> {
    let target = Url::parse(&uri.to_string()).ok()?.join(location).ok()?;
    let origin = target.origin();
    origin.is_tuple().then(|| redact(origin.ascii_serialization().as_bytes(), secrets))
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, origin, too_many } = self;
        match origin {
            Some(origin) if *too_many => write!(f, "{status}: too many redirects, last to {origin}"),
            Some(origin) => write!(f, "{status}: redirect to {origin} not followed"),
            None => write!(f, "{status}: redirect without a valid location"),
        }
    }
}
