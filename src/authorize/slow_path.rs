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
    identity::IdentityPolicy,
    in_flight::{self, InFlight, Outcome, Rejected, RequestSender, Saved, Unsent},
    replay::policy::ReplayPolicy,
};
use crate::{
    error::BoxError,
    login::{LoginError, error::Kind},
    refresh::TokenFuture,
};

/// While waiting for the first token, the call occupies no capacity. While waiting for a newer one, it retains the
/// rejected response.
#[pin_project(project = SlowPathProj, project_replace = SlowPathOwned)]
pub(crate) enum SlowPath<S, B, P, C, I>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B>,
    I: IdentityPolicy,
{
    /// Waiting for a token.
    WaitingForToken { token: TokenFuture, request: Unsent<B, P>, sender: RequestSender<S, P, C, I> },
    /// Waiting until the inner service is ready. The token is inserted then, because a newer one can be published during the
    /// wait. A replay has released the rejected response, whose connection it may need.
    WaitingForReady { request: Unsent<B, P>, sender: RequestSender<S, P, C, I> },
    /// Waiting for the response. `in_flight` is `None` if the request has no token.
    Called {
        #[pin]
        future: S::Future,
        in_flight: Option<InFlight<S, B, P, C, I>>,
    },
    /// Waiting for a newer token. The caller gets the rejection if there is none.
    WaitingForNewToken { token: TokenFuture, original: S::Response, saved: Saved<S, B, P, C, I> },
    /// The caller has its result, or a step has panicked.
    Done,
}

impl<S, B, P, C, I> SlowPath<S, B, P, C, I>
where
    S: Service<Request<P::Body>>,
    P: ReplayPolicy<B> + Clone,
    I: IdentityPolicy,
{
    /// Waits for a token, then sends the request.
    pub(crate) fn wait_for_token(request: Unsent<B, P>, sender: RequestSender<S, P, C, I>) -> Self {
        let token = sender.refresher().wait_for_token(request.min_token_life());
        Self::WaitingForToken { token, request, sender }
    }

    /// Waits for a newer token, then replays the request.
    pub(crate) fn rejected(rejected: Rejected<S, B, P, C, I, S::Response>) -> Self {
        let Rejected { newer, original, saved } = rejected;
        Self::WaitingForNewToken { token: newer, original, saved }
    }
}

impl<S, B, R, P, C, I> SlowPath<S, B, P, C, I>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: ReplayPolicy<B> + Clone,
    C: ClassifyRejection + Clone,
    I: IdentityPolicy,
{
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, Error>> {
        loop {
            let next = match self.as_mut().project() {
                SlowPathProj::WaitingForToken { token, sender, .. } => {
                    let token = ready!(token.as_mut().poll(cx));
                    let refresher = sender.refresher().clone();
                    let SlowPathOwned::WaitingForToken { request, sender, .. } =
                        self.as_mut().take()
                    else {
                        continue;
                    };
                    let request = match (token, request) {
                        (Ok(_), request) => request,
                        (Err(error), Unsent::First(request))
                            if refresher.sends_unauthenticated_after(&error) =>
                        {
                            Unsent::FirstTokenOptional(request)
                        }
                        (Err(error), request) => {
                            if !matches!(request, Unsent::Replay(_)) {
                                refresher.telemetry().request_not_sent(label(&error));
                            }
                            return Poll::Ready(Err(Error::Login(error)));
                        }
                    };
                    Self::WaitingForReady { request, sender }
                }
                SlowPathProj::WaitingForReady { sender, .. } => {
                    ready!(sender.inner.poll_ready(cx)).map_err(Error::from_inner)?;
                    let SlowPathOwned::WaitingForReady { request, sender } = self.as_mut().take()
                    else {
                        continue;
                    };
                    Self::send(request, sender)?
                }
                SlowPathProj::Called { future, in_flight } => {
                    let response = ready!(future.poll(cx)).map_err(Error::from_inner)?;
                    let Some(in_flight) = in_flight.take() else {
                        return Poll::Ready(Ok(response));
                    };
                    match in_flight.on_response(response) {
                        Outcome::Final(response) => return Poll::Ready(Ok(response)),
                        Outcome::Rejected(rejected) => Self::rejected(rejected),
                    }
                }
                SlowPathProj::WaitingForNewToken { token, .. } => {
                    let newer = ready!(token.as_mut().poll(cx));
                    let SlowPathOwned::WaitingForNewToken { original, saved, .. } =
                        self.as_mut().take()
                    else {
                        continue;
                    };
                    match newer.ok().and_then(|newer| in_flight::restore(saved, &newer)) {
                        Some((request, sender)) => Self::WaitingForReady { request, sender },
                        None => return Poll::Ready(Ok(original)),
                    }
                }
                SlowPathProj::Done => return Poll::Pending,
            };
            self.set(next);
        }
    }

    /// Sends a request with the current token. Without one, a `FirstTokenOptional` is sent too. Any other request releases
    /// the readiness and waits for a token.
    ///
    /// # Errors
    ///
    /// A replay has no other token than the rejected one, although it had one when it began to wait for readiness.
    fn send(request: Unsent<B, P>, mut sender: RequestSender<S, P, C, I>) -> Result<Self, Error> {
        let usable_token = sender.refresher().usable_token();
        let RequestSender { inner, context, selected } = &mut sender;
        let (request, in_flight) = match (request, usable_token) {
            (request, Some(token)) if request.would_repeat_token(&token, context) => {
                return Err(Error::Login(LoginError::new(Kind::SameToken, None)));
            }
            (request, Some(token)) => {
                let (request, in_flight) = request.authorize(&token, context, selected, inner);
                (request, Some(in_flight))
            }
            (Unsent::FirstTokenOptional(request), None) => {
                (request.map(|body| context.config.replay.wrap_unsaved(body)), None)
            }
            (request, None) => {
                *inner = inner.clone();
                return Ok(Self::wait_for_token(request, sender));
            }
        };
        Ok(Self::Called { future: inner.call(request), in_flight })
    }

    fn take(self: Pin<&mut Self>) -> SlowPathOwned<S, B, P, C, I> {
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
