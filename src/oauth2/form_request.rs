//! [`form_request`]: a POST of a form, and what errors show of its endpoint.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderValue, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use url::form_urlencoded;

use super::server::origin;
use crate::BoxError;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The length from which a value in a query is hidden, in bytes.
const MIN_HIDDEN_VALUE: usize = 8;

pub(super) fn form_request(
    endpoint: Uri,
    authorization: Option<HeaderValue>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, BoxError> {
    let mut request = Request::post(endpoint).header(CONTENT_TYPE, FORM).body(Full::new(body))?;
    request.headers_mut().extend(authorization.map(|value| (AUTHORIZATION, value)));
    Ok(request)
}

/// Returns a URL with the form in its query, after the query that the endpoint has (RFC 6749, section 3.1).
#[cfg(feature = "oauth2-native-app")]
pub(super) fn with_query(endpoint: &Uri, form: &super::form::Form) -> String {
    let separator = if endpoint.query().is_some() { '&' } else { '?' };
    format!("{endpoint}{separator}{}", String::from_utf8_lossy(&form.encode()))
}

/// Returns how errors name the request: without a query, which can contain a key.
pub(super) fn endpoint_name(uri: &Uri) -> String {
    format!("POST {}{}", origin(uri), uri.path())
}

/// Returns what to hide of a query, which can contain a key: each parameter, because a server can show them in another
/// order, and each long value. A short value, such as that of `api-version=1`, would hide parts of other words.
pub(super) fn query_secrets(query: &str) -> Vec<Cow<'_, str>> {
    let parameters = query.split('&').map(Cow::Borrowed);
    let values = query.split('&').filter_map(|parameter| Some(parameter.split_once('=')?.1.into()));
    let decoded = form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value);
    let is_long = |value: &Cow<'_, str>| value.len() >= MIN_HIDDEN_VALUE;
    parameters.chain(values.chain(decoded).filter(is_long)).collect()
}
