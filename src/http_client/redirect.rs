//! Decides which redirects the client follows.

use std::{error::Error, fmt};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Full;
use tower_http::follow_redirect::policy::{Action, Attempt, Policy, SameOrigin};

use crate::BoxError;

const MAX_REDIRECTS: usize = 5;

/// Follows a redirect within the origin, if it keeps the method. Otherwise the redirect is the response.
///
/// After a POST, 301, 302 and 303 request a GET without the body (RFC 9110, section 15.4). The response to such a GET
/// does not depend on the credentials.
#[derive(Clone, Default)]
pub(super) struct RedirectPolicy {
    same_origin: SameOrigin,
    followed: usize,
}

impl Policy<Full<Bytes>, BoxError> for RedirectPolicy {
    fn redirect(&mut self, attempt: &Attempt<'_>) -> Result<Action, BoxError> {
        if attempt.method() != attempt.previous_method() {
            return Ok(Action::Stop);
        }
        let action = Policy::<Full<Bytes>, BoxError>::redirect(&mut self.same_origin, attempt)?;
        if action.is_follow() {
            if self.followed == MAX_REDIRECTS {
                return Err(TooManyRedirects {
                    status: attempt.status(),
                    location: attempt.location().clone(),
                }
                .into());
            }
            self.followed += 1;
        }
        Ok(action)
    }

    fn clone_body(&self, body: &Full<Bytes>) -> Option<Full<Bytes>> {
        Some(body.clone())
    }
}

/// The error of a request that was redirected more than 5 times.
///
/// ```
/// use tower::BoxError;
/// use tower_auth_refresh::http_client::TooManyRedirects;
///
/// fn is_redirect_loop(error: &BoxError) -> bool {
///     error.is::<TooManyRedirects>()
/// }
/// # let _ = is_redirect_loop;
/// ```
// The location is not shown: its path and query may hold secrets.
pub struct TooManyRedirects {
    status: StatusCode,
    location: Uri,
}

impl TooManyRedirects {
    /// Returns the status of the last redirect.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the URI that the last redirect names.
    pub fn location(&self) -> &Uri {
        &self.location
    }
}

impl fmt::Display for TooManyRedirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many redirects, more than {MAX_REDIRECTS}")
    }
}

impl fmt::Debug for TooManyRedirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TooManyRedirects").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Error for TooManyRedirects {}
