//! [`HttpService`]: what the endpoints ask of the HTTP service beneath them.

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

/// Any `Service<Request<Full<Bytes>>, Response = Response<B>>` that can be cloned, whose future and body are `Send`,
/// and whose errors convert into [`BoxError`]. It is implemented for all of them, and short for their bounds.
pub trait HttpService: Clone + Send + 'static {
    /// Makes the service ready, sends the request, and reads the answer's body, of `limit` bytes at most, all within
    /// `time`. The head of an answer counts even where its body does not come whole or in time.
    #[doc(hidden)]
    fn send(
        self,
        request: Request<Full<Bytes>>,
        limit: usize,
        time: Duration,
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
        time: Duration,
    ) -> Result<Response<Result<Bytes, BoxError>>, BoxError> {
        let mut deadline = pin!(sleep(time));
        let answer = async {
            // A clone need not be ready though the original is.
            poll_fn(|cx| self.poll_ready(cx)).await.map_err(Into::into)?;
            self.call(request).await.map_err(Into::into)
        };
        let response = tokio::select! {
            biased;
            response = answer => response?,
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

/// The time for the exchange is over.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Elapsed {}
