//! [`ResponseFuture`]: hardly larger than the inner service's own.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use pin_project::pin_project;
use tower_service::Service;

use super::{UnsafeDestination, waiting::Waiting};
use crate::{Error, refresh::TokenFuture};

/// The future of [`AuthRefresh`](crate::AuthRefresh).
///
/// Dropping it drops the inner service's future; a login that it waits for goes on.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request<B>>, B> {
    #[pin]
    state: State<S, B>,
}

#[pin_project(project = StateProj)]
enum State<S: Service<Request<B>>, B> {
    /// There was a token: the request is on its way.
    Called {
        #[pin]
        future: S::Future,
    },
    /// There was none. Boxed, since it is rare and large.
    Waiting { waiting: Pin<Box<Waiting<S, B>>> },
    /// The token may not go there.
    Refused { why: UnsafeDestination },
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    #[inline]
    pub(crate) fn called(future: S::Future) -> Self {
        Self { state: State::Called { future } }
    }

    #[cold]
    pub(crate) fn waiting(token: TokenFuture, inner: S, request: Request<B>) -> Self {
        let waiting = Box::pin(Waiting::Token { token, inner, request });
        Self { state: State::Waiting { waiting } }
    }

    #[cold]
    pub(crate) fn refused(why: UnsafeDestination) -> Self {
        Self { state: State::Refused { why } }
    }
}

impl<S: Service<Request<B>>, B> Future for ResponseFuture<S, B> {
    type Output = Result<S::Response, Error<S::Error>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future } => future.poll(cx).map_err(Error::Inner),
            StateProj::Waiting { waiting } => waiting.as_mut().poll(cx),
            StateProj::Refused { why } => Poll::Ready(Err(Error::Refused(*why))),
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "Called",
            State::Waiting { .. } => "Waiting",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture").field(&format_args!("{state}")).finish()
    }
}
