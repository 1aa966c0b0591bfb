//! The hot path.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{
    ClassifyRejection, MinTokenLife, NeverReplay, ReplayPolicy, ResponseFuture, Unauthorized, held::Held,
    placement::Verdict, rules::Rules, sent::Sent, slow::Slow,
};
use crate::{AuthRefresher, Error, refresh::Mark};

/// Puts the current token on each request; made by an [`AuthRefreshLayer`](crate::AuthRefreshLayer).
///
/// With a token, a call costs one look at the shared cell, one clone of the header value and one insert. From its third call
/// on a service holds on to the value, and only looks whether it is in use still and its thread is the same; an idle service
/// lets go of it at its next call, or when it is dropped. Without a token the call waits for a login, and holds none of the
/// inner service's capacity meanwhile; that is why the inner service must be `Clone`.
///
/// Readiness is the inner service's alone: it never fails for want of a token.
#[derive(Clone, Debug)]
pub struct AuthRefresh<S, P = NeverReplay, C = Unauthorized> {
    inner: S,
    refresher: AuthRefresher,
    rules: Rules<P, C>,
    /// Whether `https` is all that a request must have.
    simple: bool,
    held: Held,
}

impl<S, P, C> AuthRefresh<S, P, C> {
    pub(crate) fn new(inner: S, refresher: AuthRefresher, rules: Rules<P, C>) -> Self {
        let simple = !rules.tell && rules.placement.is_simple();
        Self { inner, refresher, rules, simple, held: Held::default() }
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
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(mark) = self.authorize(&mut request) else { return self.otherwise(request) };
        let (request, kept) = self.rules.replay.keep(request);
        let Some(kept) = kept else {
            return ResponseFuture::called(self.inner.call(request), Some(mark), self.rules.classify.clone());
        };
        let sent = Sent::keeping(kept, &request, mark, &self.refresher, &self.rules, &self.inner);
        ResponseFuture::slow(Slow::Called { future: self.inner.call(request), sent: Some(sent) })
    }
}

impl<S: Clone, P: Clone, C: Clone> AuthRefresh<S, P, C> {
    /// Puts the token on the request, if nothing is out of the ordinary and there is one.
    #[inline]
    fn authorize<B>(&mut self, request: &mut Request<B>) -> Option<Mark> {
        let ordinary = (self.simple && request.uri().scheme_str() == Some("https")) || self.is_ordinary(request);
        if !ordinary || MinTokenLife::of(request.extensions()).is_some() {
            return None;
        }
        let placement = &self.rules.placement;
        match self.held.current(&self.refresher) {
            Some((mark, token)) => {
                placement.put(request.headers_mut(), token);
                Some(mark)
            }
            None => self.held.take_from_cell(&self.refresher, placement, request.headers_mut()),
        }
    }

    fn is_ordinary<B>(&self, request: &Request<B>) -> bool {
        !self.rules.tell && self.rules.placement.is_for(request.uri(), request.headers())
    }

    /// The calls out of the ordinary: those that get no token, wait for one, or tell of it.
    fn otherwise<B>(&mut self, request: Request<B>) -> ResponseFuture<S, B, P, C>
    where
        S: Service<Request<P::Body>>,
        P: ReplayPolicy<B>,
    {
        self.held.let_go_of_old(&self.refresher);
        match self.rules.placement.judge(request.uri(), request.headers()) {
            Verdict::Authorize => {}
            Verdict::PassOn => {
                let request = request.map(|body| self.rules.replay.pass_on(body));
                return ResponseFuture::called(self.inner.call(request), None, self.rules.classify.clone());
            }
            Verdict::Refuse(why) => {
                self.refresher.events().refused(why);
                self.give_slot_back();
                return ResponseFuture::slow(Slow::Refused { why });
            }
        }
        let token = match MinTokenLife::of(request.extensions()) {
            Some(MinTokenLife(life)) => self.refresher.wait_for(life),
            None => {
                if let Some(lease) = &*self.refresher.current() {
                    let (request, sent) = Sent::new(request, lease, &self.refresher, &self.rules, &self.inner);
                    return ResponseFuture::slow(Slow::Called { future: self.inner.call(request), sent: Some(sent) });
                }
                self.refresher.wait()
            }
        };
        self.give_slot_back();
        let (refresher, rules, inner) = (self.refresher.clone(), self.rules.clone(), self.inner.clone());
        ResponseFuture::slow(Slow::Token { token, refresher, rules, inner, request })
    }

    /// A clone is not ready: what the ready one had reserved goes back, so that the login may have it.
    fn give_slot_back(&mut self) {
        self.inner = self.inner.clone();
    }
}
