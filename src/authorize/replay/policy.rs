//! [`ReplayPolicy`]: what of a request is saved while it is in flight.

use std::convert::Infallible;

use http::Request;

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
    /// What is saved.
    type Saved;

    /// Prepares a request that is saved next.
    fn wrap(&self, request: Request<B>) -> Request<Self::Body>;

    /// Saves what a replay needs. `None`: this request cannot be replayed.
    fn save(&self, request: &Request<Self::Body>) -> Option<Self::Saved>;

    /// Converts the body of a request that is not saved.
    fn wrap_body(&self, body: B) -> Self::Body;

    /// Returns the request again, if its whole body is still there.
    fn restore(saved: Self::Saved) -> Option<Request<Self::Body>>;
}

/// Never replays: the caller gets the rejection. The next request has the newer token. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverReplay;

impl<B> ReplayPolicy<B> for NeverReplay {
    type Body = B;
    type Saved = Infallible;

    #[inline]
    fn wrap(&self, request: Request<B>) -> Request<B> {
        request
    }

    #[inline]
    fn save(&self, _: &Request<B>) -> Option<Infallible> {
        None
    }

    #[inline]
    fn wrap_body(&self, body: B) -> B {
        body
    }

    #[inline]
    fn restore(saved: Infallible) -> Option<Request<B>> {
        match saved {}
    }
}

/// Replays with a clone of the request, which is made before each request is sent.
///
/// A clone of the body must have the body's whole content. Clones that share one stream have not.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayClone;

impl<B: Clone> ReplayPolicy<B> for ReplayClone {
    type Body = B;
    type Saved = Request<B>;

    #[inline]
    fn wrap(&self, request: Request<B>) -> Request<B> {
        request
    }

    #[inline]
    fn save(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }

    #[inline]
    fn wrap_body(&self, body: B) -> B {
        body
    }

    #[inline]
    fn restore(saved: Request<B>) -> Option<Request<B>> {
        Some(saved)
    }
}
