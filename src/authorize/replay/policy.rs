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
/// The trait is sealed: only this crate implements it. It is a bound of functions that return a layer:
///
/// ```
/// use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, ReplayPolicy, ReplayWith};
///
/// # struct Body;
/// # fn try_clone(body: &Body) -> Option<Body> { Some(Body) }
/// fn layer(refresher: AuthRefresher) -> AuthRefreshLayer<impl ReplayPolicy<Body, Body = Body> + Clone> {
///     AuthRefreshLayer::new(refresher).replay(ReplayWith(try_clone))
/// }
/// ```
pub trait ReplayPolicy<B>: Sealed {
    /// The body that the inner service receives.
    type Body;
    /// The body of a saved request.
    #[doc(hidden)]
    type SavedBody;
    /// A saved request, and `R`, which replays it.
    #[doc(hidden)]
    type Saved<R>: AsRef<SavedRequest<Self::SavedBody, R>> + Into<SavedRequest<Self::SavedBody, R>>;

    /// Prepares a request before it is saved.
    #[doc(hidden)]
    fn wrap(&self, request: Request<B>) -> Request<Self::SavedBody>;

    /// Converts a request for the inner service, after it was saved or restored.
    #[doc(hidden)]
    fn finish(&self, request: Request<Self::SavedBody>) -> Request<Self::Body>;

    /// Converts the body of a request that is not saved.
    #[doc(hidden)]
    fn wrap_unsaved(&self, body: B) -> Self::Body;

    /// Saves a request. `None`: it cannot be replayed.
    #[doc(hidden)]
    fn save<R>(
        &self,
        request: &Request<Self::SavedBody>,
        sender: impl FnOnce() -> R,
    ) -> Option<Self::Saved<R>>;

    /// Returns the whole body, if all of it is still available. From then on, the first attempt cannot read it.
    #[doc(hidden)]
    fn restore_body(body: Self::SavedBody) -> Option<Self::SavedBody>;
}

/// Never replays a request: the caller gets the rejected response. The next request has the newer token. This is the
/// default policy.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, NeverReplay, login_fn};
///
/// let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
/// let layer: AuthRefreshLayer<NeverReplay> = AuthRefreshLayer::with_login(login);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NeverReplay;

impl<B> ReplayPolicy<B> for NeverReplay {
    type Body = B;
    type SavedBody = B;
    type Saved<R> = Infallible;

    #[inline]
    fn wrap(&self, request: Request<B>) -> Request<B> {
        request
    }

    #[inline]
    fn finish(&self, request: Request<B>) -> Request<B> {
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
    fn restore_body(body: B) -> Option<B> {
        Some(body)
    }
}

/// Replays a clone of the request. The clone is made before the request is sent.
///
/// Use it only for a body whose clones are independent of each other, such as `Full<Bytes>`, `String` or `Vec<u8>`.
///
/// **A body whose clones share one stream is replayed empty.** octocrab's `OctoBody` is such a body. The policy cannot
/// detect it, because its only bound is `Clone`. For such a body, use `ReplayBuffered`.
///
/// If the compiler reports that `oneshot` or `ready` exists but its trait bounds were not satisfied, the inner service
/// does not accept the policy's body: it must be `Clone`.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, ReplayClone, login_fn};
///
/// let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
/// let layer = AuthRefreshLayer::with_login(login).replay(ReplayClone);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReplayClone;

impl<B: Clone> ReplayPolicy<B> for ReplayClone {
    type Body = B;
    type SavedBody = B;
    type Saved<R> = Box<SavedRequest<B, R>>;

    #[inline]
    fn wrap(&self, request: Request<B>) -> Request<B> {
        request
    }

    #[inline]
    fn finish(&self, request: Request<B>) -> Request<B> {
        request
    }

    #[inline]
    fn wrap_unsaved(&self, body: B) -> B {
        body
    }

    #[inline]
    fn save<R>(
        &self,
        request: &Request<B>,
        sender: impl FnOnce() -> R,
    ) -> Option<Box<SavedRequest<B, R>>> {
        Some(Box::new(SavedRequest::new(request, request.body().clone(), sender())))
    }

    #[inline]
    fn restore_body(body: B) -> Option<B> {
        Some(body)
    }
}
