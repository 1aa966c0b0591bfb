//! The hot path.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{
    ClassifyRejection, MinTokenLife, NeverReplay, ReplayPolicy, ResponseFuture, Unauthorized,
    rules::{Rules, Verdict},
    sent::authorize,
    slow::Slow,
};
use crate::{AuthRefresher, Error, refresh::TokenFuture};

/// Puts the current token on each request; made by an [`AuthRefreshLayer`](crate::AuthRefreshLayer).
///
/// With a token, a call costs one look into the shared cell, one clone of the header value, one insert, and one clone of
/// the handle, by which a rejection is told. Without one, the call waits for a login, and holds none of the inner
/// service's capacity meanwhile; that is why the inner service must be `Clone`.
///
/// Readiness is the inner service's alone: it never fails for want of a token.
#[derive(Clone, Debug)]
pub struct AuthRefresh<S, P = NeverReplay, C = Unauthorized> {
    inner: S,
    refresher: AuthRefresher,
    rules: Rules<P, C>,
}

impl<S, P, C> AuthRefresh<S, P, C> {
    pub(crate) fn new(inner: S, refresher: AuthRefresher, rules: Rules<P, C>) -> Self {
        Self { inner, refresher, rules }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R, P, C> Service<Request<B>> for AuthRefresh<S, P, C>
where
    S: Service<Request<P::Body>, Response = Response<R>> + Clone,
    P: ReplayPolicy<B> + Clone,
    C: ClassifyRejection + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, B, P, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.rules.judge(request.uri(), request.headers()) {
            Verdict::Authorize => {}
            Verdict::PassOn => {
                let request = request.map(|body| self.rules.replay.keep(body).0);
                return ResponseFuture::called(self.inner.call(request), None);
            }
            Verdict::Refuse(why) => {
                self.give_slot_back();
                return ResponseFuture::refused(why);
            }
        }
        if let Some(MinTokenLife(life)) = request.extensions().get() {
            let token = self.refresher.wait_for(*life);
            return self.wait(token, request);
        }
        match &*self.refresher.current() {
            Some(lease) => {
                let (request, sent) = authorize(request, lease, &self.refresher, &self.rules, &self.inner);
                ResponseFuture::called(self.inner.call(request), Some(sent))
            }
            None => self.wait(self.refresher.wait(), request),
        }
    }
}

impl<S, P: Clone, C: Clone> AuthRefresh<S, P, C> {
    #[cold]
    fn wait<B>(&mut self, token: TokenFuture, request: Request<B>) -> ResponseFuture<S, B, P, C>
    where
        S: Service<Request<P::Body>> + Clone,
        P: ReplayPolicy<B>,
    {
        self.give_slot_back();
        let (refresher, rules, inner) = (self.refresher.clone(), self.rules.clone(), self.inner.clone());
        ResponseFuture::slow(Slow::Token { token, refresher, rules, inner, request })
    }

    /// A clone is not ready: what the ready one had reserved goes back, so that the login may have it.
    fn give_slot_back(&mut self)
    where
        S: Clone,
    {
        self.inner = self.inner.clone();
    }
}
