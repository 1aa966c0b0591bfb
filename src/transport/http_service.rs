//! [`HttpService`]: the HTTP service that the ready-made logins send their requests with.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::sleep;
use tower_service::Service;

use crate::BoxError;

/// Any `Service<Request<Full<Bytes>>, Response = Response<B>>` that can be cloned.
///
/// Its future and its body must be `Send`, and their errors must convert into [`BoxError`]. The trait is implemented for
/// all such services, and stands for their bounds.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, service_fn};
/// use tower_auth_refresh::transport::HttpService;
///
/// fn assert_http_service(_: &impl HttpService) {}
///
/// let service = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
/// assert_http_service(&service);
/// ```
pub trait HttpService: Clone + Send + 'static {
    /// Waits for readiness, sends the request, and reads the response's body, of `limit` bytes at most.
    ///
    /// All of that must take no longer than `timeout`. The head of a response is returned even if its body fails.
    #[doc(hidden)]
    fn send(
        self,
        request: Request<Full<Bytes>>,
        limit: usize,
        timeout: Duration,
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
        timeout: Duration,
    ) -> Result<Response<Result<Bytes, BoxError>>, BoxError> {
        let mut deadline = pin!(sleep(timeout));
        let response = async {
            // A clone can be not ready although the original is.
            poll_fn(|cx| self.poll_ready(cx)).await.map_err(Into::into)?;
            self.call(request).await.map_err(Into::into)
        };
        let response = tokio::select! {
            biased;
            response = response => response?,
            () = &mut deadline => return Err(Elapsed.into()),
        };
        let (head, body) = response.into_parts();
        let body = tokio::select! {
            biased;
            body = Limited::new(body, limit).collect() => body.map(|body| body.to_bytes()),
            () = deadline => Err(Elapsed.into()),
        };
        Ok(Response::from_parts(head, body))
    }
}

/// The error of a request that exceeded its timeout.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request timed out")
    }
}

impl std::error::Error for Elapsed {}
