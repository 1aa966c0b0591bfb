//! [`HttpService`]: the HTTP service that the ready-made logins send their requests with.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::{
    task::coop::consume_budget,
    time::{Sleep, sleep},
};
use tower_service::Service;

use crate::BoxError;

/// Any `Service<Request<Full<Bytes>>, Response = Response<B>>` that can be cloned.
///
/// Its future and its body must be `Send`, and their errors must convert into [`BoxError`]. The trait is implemented for
/// all such services, so a function that accepts one needs this bound only.
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
        Ok(Response::from_parts(head, read_body(body, limit, deadline).await))
    }
}

async fn read_body<B>(
    body: B,
    limit: usize,
    mut deadline: Pin<&mut Sleep>,
) -> Result<Bytes, BoxError>
where
    B: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    loop {
        // A body that is always ready would delay the runtime's timer, and so the deadline.
        consume_budget().await;
        let frame = tokio::select! {
            biased;
            () = &mut deadline => return Err(Elapsed.into()),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame.transpose().map_err(Into::into)? else { return Ok(read.freeze()) };
        if let Ok(data) = frame.into_data() {
            if data.remaining() > limit.saturating_sub(read.len()) {
                return Err(TooLarge.into());
            }
            read.put(data);
        }
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

/// The error of a body that exceeds its limit.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("response body too large")
    }
}

impl std::error::Error for TooLarge {}
