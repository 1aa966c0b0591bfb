//! [`ResponseFuture`]: hardly larger than the inner service's own.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::{ClassifyRejection, NeverReplay, ReplayPolicy, Unauthorized, sent::tell_rejection, slow::Slow};
use crate::{Error, refresh::Mark};

/// The future of [`AuthRefresh`](crate::AuthRefresh).
///
/// Dropping it drops the inner service's future; a login that it waits for goes on.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, B, P = NeverReplay, C = Unauthorized>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    #[pin]
    state: State<S, B, P, C>,
}

#[pin_project(project = StateProj)]
enum State<S, B, P, C>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    /// The request is on its way, with the token of this mark if it has one.
    Called {
        #[pin]
        future: S::Future,
        mark: Option<Mark>,
        classify: C,
    },
    /// Boxed, since it is rare and large.
    Slow { slow: Pin<Box<Slow<S, B, P, C>>> },
}

impl<S, B, P, C> ResponseFuture<S, B, P, C>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    #[inline]
    pub(crate) fn called(future: S::Future, mark: Option<Mark>, classify: C) -> Self {
        Self { state: State::Called { future, mark, classify } }
    }

    pub(crate) fn slow(slow: Slow<S, B, P, C>) -> Self {
        Self { state: State::Slow { slow: Box::pin(slow) } }
    }
}

impl<S, B, R, P, C> Future for ResponseFuture<S, B, P, C>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    P: ReplayPolicy<B>,
    C: ClassifyRejection + Clone,
{
    type Output = Result<S::Response, Error<S::Error>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future, mark, classify } => {
                let polled = future.poll(cx);
                if let (Poll::Ready(Ok(response)), Some(mark)) = (&polled, mark) {
                    tell_rejection(*mark, classify, response);
                }
                polled.map_err(Error::Inner)
            }
            StateProj::Slow { slow } => slow.as_mut().poll(cx),
        }
    }
}

impl<S, B, P, C> fmt::Debug for ResponseFuture<S, B, P, C>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "Called",
            State::Slow { .. } => "Slow",
        };
        f.debug_tuple("ResponseFuture").field(&format_args!("{state}")).finish()
    }
}
