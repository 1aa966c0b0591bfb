//! A call that came while there was no token.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, header::AUTHORIZATION};
use pin_project::pin_project;
use tower_service::Service;

use crate::{Error, refresh::TokenFuture};

/// Waits for three things, one after the other.
#[pin_project(project = WaitingProj, project_replace = WaitingOwned)]
pub(crate) enum Waiting<S: Service<Request<B>>, B> {
    /// For a token. Nothing of the inner service is reserved.
    Token { token: TokenFuture, inner: S, request: Request<B> },
    /// For the inner service to be ready.
    Ready { inner: S, request: Request<B> },
    /// For the response.
    Called {
        #[pin]
        future: S::Future,
    },
    /// For nothing any more: a step was left by a panic.
    Done,
}

impl<S: Service<Request<B>>, B> Waiting<S, B> {
    pub(crate) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, Error<S::Error>>> {
        loop {
            match self.as_mut().project() {
                WaitingProj::Token { token, .. } => {
                    let lease = ready!(token.as_mut().poll(cx)).map_err(Error::Login)?;
                    if let WaitingOwned::Token { inner, mut request, .. } = self.as_mut().project_replace(Self::Done) {
                        if let Some(lease) = lease {
                            request.headers_mut().insert(AUTHORIZATION, lease.token.header_value().clone());
                        }
                        self.set(Self::Ready { inner, request });
                    }
                }
                WaitingProj::Ready { inner, .. } => {
                    ready!(inner.poll_ready(cx)).map_err(Error::Inner)?;
                    if let WaitingOwned::Ready { mut inner, request } = self.as_mut().project_replace(Self::Done) {
                        let future = inner.call(request);
                        self.set(Self::Called { future });
                    }
                }
                WaitingProj::Called { future } => return future.poll(cx).map_err(Error::Inner),
                WaitingProj::Done => return Poll::Pending,
            }
        }
    }
}
