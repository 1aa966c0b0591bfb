//! The hot path.

use std::task::{Context, Poll};

use http::{Request, Response, header::AUTHORIZATION};
use tower_service::Service;

use super::{ResponseFuture, destination::Destinations};
use crate::{AuthRefresher, Error};

/// Puts the current token on each request; made by an [`AuthRefreshLayer`](crate::AuthRefreshLayer).
///
/// With a token, a call costs one look into the shared cell, one clone of the header value and one insert. Without
/// one, the call waits for a login, and holds none of the inner service's capacity meanwhile; that is why the inner
/// service must be `Clone`.
///
/// Readiness is the inner service's alone: it never fails for want of a token.
#[derive(Clone, Debug)]
pub struct AuthRefresh<S> {
    inner: S,
    refresher: AuthRefresher,
    destinations: Destinations,
}

impl<S> AuthRefresh<S> {
    pub(crate) fn new(inner: S, refresher: AuthRefresher, destinations: Destinations) -> Self {
        Self { inner, refresher, destinations }
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

impl<S, B, R> Service<Request<B>> for AuthRefresh<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, B>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Err(refused) = self.destinations.check(request.uri()) {
            self.inner = self.inner.clone();
            return ResponseFuture::refused(refused);
        }
        match &*self.refresher.current() {
            Some(lease) => {
                let value = lease.token.header_value().clone();
                request.headers_mut().insert(AUTHORIZATION, value);
                ResponseFuture::called(self.inner.call(request))
            }
            None => {
                // A clone is not ready: what the ready one had reserved goes back, so that the login may have it.
                self.inner = self.inner.clone();
                ResponseFuture::waiting(self.refresher.wait(), self.inner.clone(), request)
            }
        }
    }
}
