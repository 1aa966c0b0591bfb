//! The calls out of the ordinary: they wait for a token, for a newer one than was rejected, or remember more.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::{
    ClassifyRejection, ReplayPolicy, UnsafeDestination,
    rules::Rules,
    sent::{Again, Outcome, Sent},
};
use crate::{AuthRefresher, Error, refresh::TokenFuture};

/// Waits for one thing after the other. A wait for the first token holds nothing of the inner service; one for a newer token
/// holds the rejection.
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
    /// For the response. `sent` is there if a token is on the request.
    Called {
        #[pin]
        future: S::Future,
        sent: Option<Sent<S, B, P, C>>,
    },
    /// For a newer token, with the rejection at hand should none come.
    Newer { token: TokenFuture, original: S::Response, rejected: Sent<S, B, P, C> },
    /// For nothing: the token may not go there.
    Refused { why: UnsafeDestination },
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
                SlowProj::Token { token, refresher, .. } => {
                    let lease = ready!(token.as_mut().poll(cx)).map_err(|error| {
                        refresher.events().without_token(&error);
                        Error::Login(error)
                    })?;
                    let SlowOwned::Token { refresher, rules, inner, request, .. } = self.as_mut().take() else {
                        continue;
                    };
                    match lease {
                        Some(lease) => {
                            let (request, sent) = Sent::new(request, &lease, &refresher, &rules, &inner);
                            Self::Ready { inner, request, sent: Some(sent) }
                        }
                        None => {
                            Self::Ready { inner, request: request.map(|body| rules.replay.pass_on(body)), sent: None }
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
                        Outcome::Replay { token, original, rejected } => Self::Newer { token, original, rejected },
                    }
                }
                SlowProj::Newer { token, .. } => {
                    let newer = ready!(token.as_mut().poll(cx));
                    let SlowOwned::Newer { original, rejected, .. } = self.as_mut().take() else { continue };
                    let replay = newer.ok().flatten().and_then(|lease| rejected.replay(&lease));
                    match replay {
                        Some(Again { inner, request, sent }) => Self::Ready { inner, request, sent: Some(sent) },
                        None => return Poll::Ready(Ok(original)),
                    }
                }
                SlowProj::Refused { why } => return Poll::Ready(Err(Error::Refused(*why))),
                SlowProj::Done => return Poll::Pending,
            };
            self.set(next);
        }
    }

    fn take(self: Pin<&mut Self>) -> SlowOwned<S, B, P, C> {
        self.project_replace(Self::Done)
    }
}
