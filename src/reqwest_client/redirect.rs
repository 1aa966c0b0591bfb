//! [`same_origin_redirects`]: a redirect policy for a client below the layer or below a login.

use reqwest::redirect::Policy;

const MAX_REDIRECTS: usize = 5;

/// Returns a redirect policy that follows redirects within the origin (RFC 6454, section 4), at most 5 in a row.
///
/// Any other redirect is the response. So neither a token nor the body of a login is sent to another origin.
///
/// ```
/// use tower_auth_refresh::reqwest_client::same_origin_redirects;
///
/// let client = reqwest::Client::builder().redirect(same_origin_redirects()).build()?;
/// # Ok::<_, reqwest::Error>(())
/// ```
pub fn same_origin_redirects() -> Policy {
    Policy::custom(|attempt| {
        // The first of the previous URLs is that of the request.
        let previous = attempt.previous();
        let is_same_origin =
            previous.last().is_some_and(|url| url.origin() == attempt.url().origin());
        if is_same_origin && previous.len() <= MAX_REDIRECTS {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}
