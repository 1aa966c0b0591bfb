//! [`ResponseFuture`]: hardly larger than the inner service's own.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::{
    ClassifyRejection, NeverReplay, ReplayPolicy, Unauthorized, UnsafeDestination,
    sent::{Outcome, Sent},
    slow::Slow,
};
use crate::Error;

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
    /// The request is on its way, with a token if there is `sent`.
    Called {
        #[pin]
        future: S::Future,
        sent: Option<Sent<S, B, P, C>>,
    },
    /// Boxed, since it is rare and large.
    Slow { slow: Pin<Box<Slow<S, B, P, C>>> },
    /// The token may not go there.
    Refused { why: UnsafeDestination },
}

impl<S, B, P, C> ResponseFuture<S, B, P, C>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    #[inline]
    pub(crate) fn called(future: S::Future, sent: Option<Sent<S, B, P, C>>) -> Self {
        Self { state: State::Called { future, sent } }
    }

    #[cold]
    pub(crate) fn slow(slow: Slow<S, B, P, C>) -> Self {
        Self { state: State::Slow { slow: Box::pin(slow) } }
    }

    #[cold]
    pub(crate) fn refused(why: UnsafeDestination) -> Self {
        Self { state: State::Refused { why } }
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
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Called { future, sent } => {
                    let response = ready!(future.poll(cx)).map_err(Error::Inner)?;
                    let Some(sent) = sent.take() else { return Poll::Ready(Ok(response)) };
                    match sent.conclude(response) {
                        Outcome::Final(response) => return Poll::Ready(Ok(response)),
                        Outcome::Replay { token, original, rejected, kept } => {
                            let slow = Box::pin(Slow::Newer { token, original, rejected, kept });
                            state.set(State::Slow { slow });
                        }
                    }
                }
                StateProj::Slow { slow } => return slow.as_mut().poll(cx),
                StateProj::Refused { why } => return Poll::Ready(Err(Error::Refused(*why))),
            }
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
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture").field(&format_args!("{state}")).finish()
    }
}
