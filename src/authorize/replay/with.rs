//! [`ReplayWith`]: replays bodies that know whether they can be cloned.

use std::{any, fmt};

use http::Request;

use super::{
    policy::{ReplayPolicy, Sealed},
    saved_request::SavedRequest,
};

/// Replays a copy of the body, which a function makes before the request is sent. If the function returns `None`, the
/// request is not replayed.
///
/// Use it for bodies with a `try_clone`, such as those of kube, octocrab and aws-smithy. The inner service receives the
/// body unchanged. The copy must have the body's whole content.
///
/// The path of a function needs no type annotations. A closure needs the type of its argument:
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, ReplayWith, login_fn};
///
/// enum Body {
///     Bytes(Vec<u8>),
///     Stream(std::fs::File),
/// }
///
/// impl Body {
///     fn try_clone(&self) -> Option<Self> {
///         match self {
///             Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
///             Self::Stream(_) => None,
///         }
///     }
/// }
///
/// let layer = AuthRefreshLayer::with_login(login_fn(|_| async { Ok(AccessToken::bearer("abc")?) }));
/// let by_path = layer.clone().replay(ReplayWith(Body::try_clone));
/// let by_closure = layer.replay(ReplayWith(|body: &Body| body.try_clone()));
/// # fn is_policy<P: tower_auth_refresh::ReplayPolicy<Body, Body = Body>, C>(_: AuthRefreshLayer<P, C>) {}
/// # is_policy(by_path);
/// # is_policy(by_closure);
/// ```
#[derive(Clone, Copy)]
pub struct ReplayWith<F>(pub F);

impl<F> Sealed for ReplayWith<F> {}

impl<B, F: Fn(&B) -> Option<B>> ReplayPolicy<B> for ReplayWith<F> {
    type Body = B;
    type SavedBody = B;
    type Saved<R> = Box<SavedRequest<B, R>>;

    fn wrap(&self, request: Request<B>) -> Request<B> {
        request
    }

    fn finish(&self, request: Request<B>) -> Request<B> {
        request
    }

    fn wrap_unsaved(&self, body: B) -> B {
        body
    }

    fn save<R>(
        &self,
        request: &Request<B>,
        sender: impl FnOnce() -> R,
    ) -> Option<Box<SavedRequest<B, R>>> {
        let copy = (self.0)(request.body())?;
        Some(Box::new(SavedRequest::new(request, copy, sender())))
    }

    fn restore_body(body: B) -> Option<B> {
        Some(body)
    }
}

impl<F> fmt::Debug for ReplayWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplayWith").field(&format_args!("{}", any::type_name::<F>())).finish()
    }
}
