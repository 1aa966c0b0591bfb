//! [`ReplayPolicy`]: selects what is saved of a request while it is in flight.

use std::convert::Infallible;

use http::Request;

use super::saved_request::SavedRequest;

/// Seals the trait, so that methods can be added later.
#[allow(unreachable_pub, reason = "a bound of a public trait")]
pub trait Sealed {}

impl Sealed for NeverReplay {}
impl Sealed for ReplayClone {}

/// Selects what is saved of a request, so that it can be replayed with a newer token.
///
/// A request is replayed at most once, never with the same token, and only if its whole body is available.
///
/// The trait is sealed: only this crate implements it.
pub trait ReplayPolicy<B>: Sealed {
    /// The body that the inner service receives.
    type Body;
    /// A saved request, and `R`, which replays it.
    #[doc(hidden)]
    type Saved<R>;

    /// Prepares a request before it is saved.
    #[doc(hidden)]
    fn wrap(&self, request: Request<B>) -> Request<Self::Body>;

    /// Converts the body of a request that is not saved.
    #[doc(hidden)]
    fn wrap_unsaved(&self, body: B) -> Self::Body;

    /// Saves a request. `None`: it cannot be replayed.
    #[doc(hidden)]
    fn save<R>(&self, request: &Request<Self::Body>, sender: impl FnOnce() -> R) -> Option<Self::Saved<R>>;

    #[doc(hidden)]
    fn saved<R>(saved: &Self::Saved<R>) -> &SavedRequest<Self::Body, R>;

    #[doc(hidden)]
    fn into_saved<R>(saved: Self::Saved<R>) -> SavedRequest<Self::Body, R>;

    /// Returns the whole body, if all of it is still available. From then on, the first attempt cannot read it.
    #[doc(hidden)]
    fn restore_body(body: Self::Body) -> Option<Self::Body>;
}

/// Never replays: the caller gets the rejection. The next request has the newer token. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverReplay;

impl<B> ReplayPolicy<B> for NeverReplay {
    type Body = B;
    type Saved<R> = Infallible;

    #[inline]
    fn wrap(&self, request: Request<B>) -> Request<B> {
        request
    }

    #[inline]
    fn wrap_unsaved(&self, body: B) -> B {
        body
    }

    #[inline]
    fn save<R>(&self, _: &Request<B>, _: impl FnOnce() -> R) -> Option<Infallible> {
        None
    }

    #[inline]
    fn saved<R>(saved: &Infallible) -> &SavedRequest<B, R> {
        match *saved {}
    }

    #[inline]
    fn into_saved<R>(saved: Infallible) -> SavedRequest<B, R> {
        match saved {}
    }

    #[inline]
    fn restore_body(body: B) -> Option<B> {
        Some(body)
    }
}

/// Replays a clone of the request. The clone is made before the request is sent.
///
/// A clone of the body must have the body's whole content. Clones that share one stream do not qualify.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayClone;

impl<B: Clone> ReplayPolicy<B> for ReplayClone {
    type Body = B;
    type Saved<R> = Box<SavedRequest<B, R>>;

    #[inline]
    fn wrap(&self, request: Request<B>) -> Request<B> {
        request
    }

    #[inline]
    fn wrap_unsaved(&self, body: B) -> B {
        body
    }

    #[inline]
    fn save<R>(&self, request: &Request<B>, sender: impl FnOnce() -> R) -> Option<Box<SavedRequest<B, R>>> {
        Some(Box::new(SavedRequest::new(request, request.body().clone(), sender())))
    }

    #[inline]
    fn saved<R>(saved: &Box<SavedRequest<B, R>>) -> &SavedRequest<B, R> {
        saved
    }

    #[inline]
    fn into_saved<R>(saved: Box<SavedRequest<B, R>>) -> SavedRequest<B, R> {
        *saved
    }

    #[inline]
    fn restore_body(body: B) -> Option<B> {
        Some(body)
    }
}
