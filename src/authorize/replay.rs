//! Whether a rejected request is sent once more.

use std::convert::Infallible;

/// Leaves the trait below free to grow.
#[allow(unreachable_pub, reason = "a bound of a public trait")]
pub trait Sealed {}

impl Sealed for NeverReplay {}
impl Sealed for ReplayClone {}

/// Says what of a request's body is kept while the request is on its way, so that it can be sent once more with a newer
/// token if the first is rejected.
///
/// A request is replayed once at most, never with the same token, and only if its whole body can be sent again.
///
/// The policies are those of this crate; the trait cannot be implemented elsewhere.
pub trait ReplayPolicy<B>: Sealed {
    /// The body that the inner service is sent.
    type Body;
    /// What is kept meanwhile.
    type Kept;

    /// Takes the body apart. `None`: this one cannot be sent again.
    fn keep(&self, body: B) -> (Self::Body, Option<Self::Kept>);

    /// The body once more, if all of it is still there.
    fn again(kept: Self::Kept) -> Option<Self::Body>;
}

/// Never replay: the caller gets the rejection. The next request has the newer token. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverReplay;

impl<B> ReplayPolicy<B> for NeverReplay {
    type Body = B;
    type Kept = Infallible;

    #[inline]
    fn keep(&self, body: B) -> (B, Option<Infallible>) {
        (body, None)
    }

    #[inline]
    fn again(kept: Infallible) -> Option<B> {
        match kept {}
    }
}

/// Replay with a clone of the body, which is made of each request before it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayClone;

impl<B: Clone> ReplayPolicy<B> for ReplayClone {
    type Body = B;
    type Kept = B;

    #[inline]
    fn keep(&self, body: B) -> (B, Option<B>) {
        (body.clone(), Some(body))
    }

    #[inline]
    fn again(kept: B) -> Option<B> {
        Some(kept)
    }
}
