//! Converts the body of a request.

use std::any::Any;

use bytes::Bytes;
use http_body::Body;

use crate::error::BoxError;

/// Returns a `reqwest::Body` unchanged. Any other body becomes a stream, which reqwest cannot send again: neither to the
/// target of a redirect nor in a retry of its own. A login's body, which contains secrets, is one of these.
pub(super) fn into_reqwest<B>(body: B) -> reqwest::Body
where
    B: Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Some(body);
    if let Some(body) = (&mut body as &mut dyn Any).downcast_mut::<Option<reqwest::Body>>() {
        return body.take().unwrap_or_default();
    }
    body.map(reqwest::Body::wrap).unwrap_or_default()
}
