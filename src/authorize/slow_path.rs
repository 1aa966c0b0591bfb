//! [`SlowPath`]: a call that waits for a token or is replayed, or whose response receives a `TokenInfo`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::{
    classify::ClassifyRejection,
    error::Error,
    in_flight::{InFlight, Outcome, Rejected, Replay, Replayed},
    replay::policy::ReplayPolicy,
    service_context::ServiceContext,
    sharded_arc::ShardedArc,
};
use crate::{error::BoxError, login::LoginError, refresh::TokenFuture};

/// While waiting for the first token, the call occupies no capacity. While waiting for a newer one, it retains the
/// rejected response.
#[pin_project(project = SlowPathProj, project_replace = SlowPathOwned)]
pub(crate) enum SlowPath<S, B, P, C>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    /// Waiting for a token.
    WaitingForToken { token: TokenFuture, context: ShardedArc<ServiceContext<P, C>>, inner: S, request: Request<B> },
    /// Waiting until the inner service is ready. `in_flight` is `None` if the request has no token.
    WaitingForReady { inner: S, request: Request<P::Body>, in_flight: Option<InFlight<S, B, P, C>> },
    /// Waiting for the response. `in_flight` is `None` if the request has no token.
    Called {
        #[pin]
        future: S::Future,
        in_flight: Option<InFlight<S, B, P, C>>,
    },
    /// Waiting for a newer token. The caller gets the rejection if there is none.
    WaitingForNewToken { token: TokenFuture, original: S::Response, replay: Replay<S, B, P, C> },
    /// The caller has its result, or a step has panicked.
    Done,
}

impl<S, B, P, C> SlowPath<S, B, P, C>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
{
    /// Waits for a newer token, then replays the request.
    pub(crate) fn rejected(rejected: Rejected<S, B, P, C, S::Response>) -> Self {
        let Rejected { newer, original, replay } = rejected;
        Self::WaitingForNewToken { token: newer, original, replay }
    }
}

impl<S, B, R, P, C> SlowPath<S, B, P, C>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: ReplayPolicy<B> + Clone,
    C: ClassifyRejection + Clone,
{
    pub(crate) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Response, Error>> {
        loop {
            let next = match self.as_mut().project() {
                SlowPathProj::WaitingForToken { token, context, .. } => {
                    let token = ready!(token.as_mut().poll(cx)).map_err(|error| {
                        context.refresher.telemetry().request_not_sent(label(&error));
                        Error::Login(error)
                    })?;
                    let SlowPathOwned::WaitingForToken { context, inner, request, .. } = self.as_mut().take() else {
                        continue;
                    };
                    match token {
                        Some(token) => {
                            let (request, in_flight) = InFlight::new(request, &token, &context, &inner);
                            Self::WaitingForReady { inner, request, in_flight: Some(in_flight) }
                        }
                        None => {
                            let request = request.map(|body| context.config.replay.wrap_unsaved(body));
                            Self::WaitingForReady { inner, request, in_flight: None }
                        }
                    }
                }
                SlowPathProj::WaitingForReady { inner, .. } => {
                    ready!(inner.poll_ready(cx)).map_err(Error::from_inner)?;
                    let SlowPathOwned::WaitingForReady { mut inner, request, in_flight } = self.as_mut().take() else {
                        continue;
                    };
                    Self::Called { future: inner.call(request), in_flight }
                }
                SlowPathProj::Called { future, in_flight } => {
                    let response = ready!(future.poll(cx)).map_err(Error::from_inner)?;
                    let Some(in_flight) = in_flight.take() else { return Poll::Ready(Ok(response)) };
                    match in_flight.on_response(response) {
                        Outcome::Final(response) => return Poll::Ready(Ok(response)),
                        Outcome::Rejected(rejected) => Self::rejected(rejected),
                    }
                }
                SlowPathProj::WaitingForNewToken { token, .. } => {
                    let newer = ready!(token.as_mut().poll(cx));
                    let SlowPathOwned::WaitingForNewToken { original, replay, .. } = self.as_mut().take() else {
                        continue;
                    };
                    match newer.ok().flatten().and_then(|newer| replay.with_token(&newer)) {
                        Some(Replayed { inner, request, in_flight }) => {
                            Self::WaitingForReady { inner, request, in_flight: Some(in_flight) }
                        }
                        None => return Poll::Ready(Ok(original)),
                    }
                }
                SlowPathProj::Done => return Poll::Pending,
            };
            self.set(next);
        }
    }

    fn take(self: Pin<&mut Self>) -> SlowPathOwned<S, B, P, C> {
        self.project_replace(Self::Done)
    }
}

/// Returns the metric's label value.
fn label(error: &LoginError) -> &'static str {
    match error {
        error if error.is_shut_down() => "shut_down",
        error if error.is_timeout() => "timeout",
        _ => "login_failed",
    }
}
