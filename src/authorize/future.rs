//! [`ResponseFuture`]: about as large as the inner service's future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::{
    classify::{ClassifyRejection, UnauthorizedAsRejection},
    error::Error,
    identity::{IdentityPolicy, SingleIdentity},
    in_flight::{Rejected, Saved, report_if_rejected},
    replay::policy::{NeverReplay, ReplayPolicy},
    slow_path::SlowPath,
};
use crate::{error::BoxError, refresh::TokenId};

/// The future of [`AuthRefresh`](crate::AuthRefresh).
///
/// Dropping it drops the inner service's future. The login continues.
///
/// It is as `Send` as the inner service and its future. A service that contains the layer can name it:
///
/// ```
/// use std::task::{Context, Poll};
/// use http::{Request, Response};
/// use tower::{BoxError, Service};
/// use tower_auth_refresh::{AuthRefresh, Error, ResponseFuture};
///
/// struct ApiClient<S>(AuthRefresh<S>);
///
/// impl<S, B, R> Service<Request<B>> for ApiClient<S>
/// where
///     S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
/// {
///     type Response = Response<R>;
///     type Error = Error;
///     type Future = ResponseFuture<S, B>;
///
///     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
///         Service::<Request<B>>::poll_ready(&mut self.0, cx)
///     }
///
///     fn call(&mut self, request: Request<B>) -> Self::Future {
///         self.0.call(request)
///     }
/// }
/// ```
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, B, P = NeverReplay, C = UnauthorizedAsRejection, I = SingleIdentity>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
    I: IdentityPolicy,
{
    #[pin]
    state: State<S, B, P, C, I>,
}

#[pin_project(project = StateProj)]
enum State<S, B, P, C, I>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
    I: IdentityPolicy,
{
    /// The fast path: the request has been sent, with this token if it has one.
    Called {
        #[pin]
        future: S::Future,
        token: Option<TokenId>,
        classify: C,
        /// `None`: the request cannot be replayed.
        saved: Option<Saved<S, B, P, C, I>>,
    },
    Rare(Rare<S, B, P, C, I>),
}

type BoxedSlowPath<S, B, P, C, I> = Pin<Box<SlowPath<S, B, P, C, I>>>;

/// A separate enum, so that the fast path matches one of two variants.
enum Rare<S, B, P, C, I>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
    I: IdentityPolicy,
{
    /// Boxed, because it is large.
    SlowPath(BoxedSlowPath<S, B, P, C, I>),
    /// The request was not sent. `None` after the error was returned.
    NotSent(Option<Box<Error>>),
}

impl<S, B, P, C, I> ResponseFuture<S, B, P, C, I>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
    I: IdentityPolicy,
{
    #[inline]
    pub(crate) fn called(
        future: S::Future,
        token: Option<TokenId>,
        classify: C,
        saved: Option<Saved<S, B, P, C, I>>,
    ) -> Self {
        Self { state: State::Called { future, token, classify, saved } }
    }

    pub(crate) fn slow_path(slow_path: SlowPath<S, B, P, C, I>) -> Self {
        Self { state: State::Rare(Rare::SlowPath(Box::pin(slow_path))) }
    }

    pub(crate) fn not_sent(error: Error) -> Self {
        Self { state: State::Rare(Rare::NotSent(Some(Box::new(error)))) }
    }
}

impl<S, B, R, P, C, I> Future for ResponseFuture<S, B, P, C, I>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: ReplayPolicy<B> + Clone,
    C: ClassifyRejection + Clone,
    I: IdentityPolicy,
{
    type Output = Result<S::Response, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateProj::Called { future, token, classify, saved } => match future.poll(cx) {
                Poll::Ready(Ok(response)) => {
                    if report_if_rejected(*token, classify, &response)
                        && let Some(saved) = saved.take()
                    {
                        let rejected = Rejected::new(response, saved);
                        state.set(State::Rare(Rare::SlowPath(Box::pin(SlowPath::rejected(
                            rejected,
                        )))));
                        return state.poll_rare(cx);
                    }
                    Poll::Ready(Ok(response))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(Error::from_inner(error))),
                Poll::Pending => Poll::Pending,
            },
            StateProj::Rare(_) => state.poll_rare(cx),
        }
    }
}

impl<S, B, R, P, C, I> State<S, B, P, C, I>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: ReplayPolicy<B> + Clone,
    C: ClassifyRejection + Clone,
    I: IdentityPolicy,
{
    fn poll_rare(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, Error>> {
        match self.project() {
            StateProj::Rare(Rare::SlowPath(slow_path)) => slow_path.as_mut().poll(cx),
            StateProj::Rare(Rare::NotSent(error)) => match error.take() {
                Some(error) => Poll::Ready(Err(*error)),
                None => Poll::Pending,
            },
            StateProj::Called { .. } => Poll::Pending,
        }
    }
}

impl<S, B, P, C, I> fmt::Debug for ResponseFuture<S, B, P, C, I>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
    I: IdentityPolicy,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "Called",
            State::Rare(Rare::SlowPath(_)) => "SlowPath",
            State::Rare(Rare::NotSent(_)) => "NotSent",
        };
        f.debug_tuple("ResponseFuture").field(&format_args!("{state}")).finish()
    }
}
