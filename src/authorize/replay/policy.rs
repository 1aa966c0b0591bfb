//! [`ReplayPolicy`]: what of a request is saved while it is in flight.

use std::convert::Infallible;

use http::Request;

use super::saved_request::SavedRequest;

/// Allows the trait below to grow.
#[allow(unreachable_pub, reason = "a bound of a public trait")]
pub trait Sealed {}

impl Sealed for NeverReplay {}
impl Sealed for ReplayClone {}

/// Decides what of a request is saved while it is in flight, so that it can be replayed with a newer token if a server rejects
/// the first.
///
/// A request is replayed at most once, never with the same token, and only if its whole body can be sent again.
///
/// The trait is sealed: its implementations are those of this crate.
pub trait ReplayPolicy<B>: Sealed {
    /// The body that the inner service receives.
    type Body;
    /// A saved request, and `R`, which sends it again.
    #[doc(hidden)]
    type Saved<R>;

    /// Prepares a request that is saved next.
    #[doc(hidden)]
    fn wrap(&self, request: Request<B>) -> Request<Self::Body>;

    /// Converts the body of a request that is not saved.
    #[doc(hidden)]
    fn wrap_unsaved(&self, body: B) -> Self::Body;

    /// Saves a request. `None`: it cannot be replayed.
    #[doc(hidden)]
    fn save<R>(&self, request: &Request<Self::Body>, resender: impl FnOnce() -> R) -> Option<Self::Saved<R>>;

    #[doc(hidden)]
    fn saved<R>(saved: &Self::Saved<R>) -> &SavedRequest<Self::Body, R>;

    #[doc(hidden)]
    fn into_saved<R>(saved: Self::Saved<R>) -> SavedRequest<Self::Body, R>;

    /// Returns the body again, if all of it is still there. From then on the first attempt cannot read any more.
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

/// Replays with a clone of the request, which is made before each request is sent.
///
/// A clone of the body must have the body's whole content. Clones that share one stream have not.
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
    fn save<R>(&self, request: &Request<B>, resender: impl FnOnce() -> R) -> Option<Box<SavedRequest<B, R>>> {
        Some(Box::new(SavedRequest::new(request, request.body().clone(), resender())))
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
