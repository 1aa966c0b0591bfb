//! [`HttpService`]: what the endpoints ask of the HTTP service beneath them.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use tower_service::Service;

use crate::BoxError;

/// Any `Service<Request<Full<Bytes>>, Response = Response<B>>` that can be cloned, whose future and body are `Send`,
/// and whose errors convert into [`BoxError`]. It is implemented for all of them, and short for their bounds.
pub trait HttpService: Clone + Send + 'static {
    /// Makes the service ready, sends the request, and reads the answer's body, of `limit` bytes at most. The head of
    /// an answer counts even where its body does not come whole.
    #[doc(hidden)]
    fn send(
        self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> impl Future<Output = Result<Response<Result<Bytes, BoxError>>, BoxError>> + Send;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn send(
        mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Response<Result<Bytes, BoxError>>, BoxError> {
        // A clone need not be ready though the original is.
        poll_fn(|cx| self.poll_ready(cx)).await.map_err(Into::into)?;
        let response = self.call(request).await.map_err(Into::into)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await;
        Ok(Response::from_parts(head, body.map(|body| body.to_bytes())))
    }
}
