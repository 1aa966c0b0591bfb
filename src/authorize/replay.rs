//! Whether a rejected request is sent once more.

use std::convert::Infallible;

use http::Request;

/// Leaves the trait below free to grow.
#[allow(unreachable_pub, reason = "a bound of a public trait")]
pub trait Sealed {}

impl Sealed for NeverReplay {}
impl Sealed for ReplayClone {}

/// Says what of a request is kept while it is on its way, so that it can be sent once more with a newer token if the first
/// is rejected.
///
/// A request is replayed once at most, never with the same token, and only if its whole body can be sent again.
///
/// The policies are those of this crate; the trait cannot be implemented elsewhere.
pub trait ReplayPolicy<B>: Sealed {
    /// The body that the inner service is sent.
    type Body;
    /// What is kept meanwhile.
    type Kept;

    /// Takes the request apart. `None`: this one cannot be sent again.
    fn keep(&self, request: Request<B>) -> (Request<Self::Body>, Option<Self::Kept>);

    /// The body as the inner service is sent it, of a request that is not kept.
    fn pass_on(&self, body: B) -> Self::Body;

    /// The request once more, if all of its body is still there.
    fn again(kept: Self::Kept) -> Option<Request<Self::Body>>;
}

/// Never replay: the caller gets the rejection. The next request has the newer token. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverReplay;

impl<B> ReplayPolicy<B> for NeverReplay {
    type Body = B;
    type Kept = Infallible;

    #[inline]
    fn keep(&self, request: Request<B>) -> (Request<B>, Option<Infallible>) {
        (request, None)
    }

    #[inline]
    fn pass_on(&self, body: B) -> B {
        body
    }

    #[inline]
    fn again(kept: Infallible) -> Option<Request<B>> {
        match kept {}
    }
}

/// Replay with a clone of the body, which is made of each request before it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayClone;

impl<B: Clone> ReplayPolicy<B> for ReplayClone {
    type Body = B;
    type Kept = Request<B>;

    #[inline]
    fn keep(&self, request: Request<B>) -> (Request<B>, Option<Request<B>>) {
        (request.clone(), Some(request))
    }

    #[inline]
    fn pass_on(&self, body: B) -> B {
        body
    }

    #[inline]
    fn again(kept: Request<B>) -> Option<Request<B>> {
        Some(kept)
    }
}
