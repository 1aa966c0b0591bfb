//! The calls that have to wait: for a first token, or for a newer one than was rejected.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::{
    ClassifyRejection, ReplayPolicy,
    rules::Rules,
    sent::{Again, Kept, Outcome, Sent, authorize},
};
use crate::{AuthRefresher, Error, refresh::TokenFuture};

/// Waits for one thing after the other. What is awaited holds nothing of the inner service until it is to be called.
#[pin_project(project = SlowProj, project_replace = SlowOwned)]
pub(crate) enum Slow<S, B, P, C>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    /// For a token.
    Token { token: TokenFuture, refresher: AuthRefresher, rules: Rules<P, C>, inner: S, request: Request<B> },
    /// For the inner service to be ready. `sent` is there if a token is on the request.
    Ready { inner: S, request: Request<P::Body>, sent: Option<Sent<S, B, P, C>> },
    /// For the response.
    Called {
        #[pin]
        future: S::Future,
        sent: Option<Sent<S, B, P, C>>,
    },
    /// For a newer token, with the rejection at hand should none come.
    Newer { token: TokenFuture, original: S::Response, rejected: Sent<S, B, P, C>, kept: Box<Kept<S, B, P>> },
    /// For nothing any more: it has been answered, or a step was left by a panic.
    Done,
}

impl<S, B, R, P, C> Slow<S, B, P, C>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    P: ReplayPolicy<B>,
    C: ClassifyRejection + Clone,
{
    pub(crate) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, Error<S::Error>>> {
        loop {
            let next = match self.as_mut().project() {
                SlowProj::Token { token, .. } => {
                    let lease = ready!(token.as_mut().poll(cx)).map_err(Error::Login)?;
                    let SlowOwned::Token { refresher, rules, inner, request, .. } = self.as_mut().take() else {
                        continue;
                    };
                    match lease {
                        Some(lease) => {
                            let (request, sent) = authorize(request, &lease, &refresher, &rules, &inner);
                            Self::Ready { inner, request, sent: Some(sent) }
                        }
                        None => {
                            Self::Ready { inner, request: request.map(|body| rules.replay.keep(body).0), sent: None }
                        }
                    }
                }
                SlowProj::Ready { inner, .. } => {
                    ready!(inner.poll_ready(cx)).map_err(Error::Inner)?;
                    let SlowOwned::Ready { mut inner, request, sent } = self.as_mut().take() else { continue };
                    Self::Called { future: inner.call(request), sent }
                }
                SlowProj::Called { future, sent } => {
                    let response = ready!(future.poll(cx)).map_err(Error::Inner)?;
                    let Some(sent) = sent.take() else { return Poll::Ready(Ok(response)) };
                    match sent.conclude(response) {
                        Outcome::Final(response) => return Poll::Ready(Ok(response)),
                        Outcome::Replay { token, original, rejected, kept } => {
                            Self::Newer { token, original, rejected, kept }
                        }
                    }
                }
                SlowProj::Newer { token, .. } => {
                    let newer = ready!(token.as_mut().poll(cx));
                    let SlowOwned::Newer { original, rejected, kept, .. } = self.as_mut().take() else { continue };
                    let replay = newer.ok().flatten().and_then(|lease| kept.replay(&lease, rejected));
                    match replay {
                        Some(Again { inner, request, sent }) => Self::Ready { inner, request, sent: Some(sent) },
                        None => return Poll::Ready(Ok(original)),
                    }
                }
                SlowProj::Done => return Poll::Pending,
            };
            self.set(next);
        }
    }

    fn take(self: Pin<&mut Self>) -> SlowOwned<S, B, P, C> {
        self.project_replace(Self::Done)
    }
}
