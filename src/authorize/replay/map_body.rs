//! [`MapBody`]: a policy whose body is converted into another type.

use std::{any, fmt};

use http::Request;

use super::{
    buffered::ReplayBuffered,
    buffered_body::BufferedBody,
    policy::{ReplayPolicy, Sealed},
};

impl ReplayBuffered {
    /// Sets a function that converts the body for the inner service. Defaults to none: the inner service receives a
    /// [`BufferedBody`].
    ///
    /// Use it for clients that accept one type of body, such as those that tonic generates (`tonic::body::Body::new`)
    /// and reqwest (`reqwest::Body::wrap`).
    ///
    /// ```
    /// use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
    /// use tower_auth_refresh::{BufferedBody, ReplayBuffered};
    ///
    /// type Body = UnsyncBoxBody<bytes::Bytes, tower::BoxError>;
    ///
    /// let by_path = ReplayBuffered::new().map_body(Body::new::<BufferedBody<Body>>);
    /// let by_closure = ReplayBuffered::new().map_body(|body: BufferedBody<Body>| body.boxed_unsync());
    /// # let _ = (by_path, by_closure);
    /// ```
    ///
    /// If the layer is used in the same function, as in a `ServiceBuilder`, the compiler infers the type of the body:
    /// `map_body(Body::new)`.
    pub fn map_body<B, T, F>(self, map: F) -> MapBody<Self, F>
    where
        F: Fn(BufferedBody<B>) -> T,
    {
        MapBody { policy: self, map }
    }
}

/// A replay policy with a function that converts the body for the inner service.
///
/// [`ReplayBuffered::map_body`] creates it. To name the type, use a function pointer:
///
/// ```
/// use http_body_util::combinators::UnsyncBoxBody;
/// use tower_auth_refresh::{AuthRefresh, BufferedBody, MapBody, ReplayBuffered};
///
/// type Body = UnsyncBoxBody<bytes::Bytes, tower::BoxError>;
/// type Replay = MapBody<ReplayBuffered, fn(BufferedBody<Body>) -> Body>;
///
/// struct ApiClient<S> {
///     http: AuthRefresh<S, Replay>,
/// }
///
/// let replay: Replay = ReplayBuffered::new().map_body(Body::new);
/// # let _ = replay;
/// ```
#[derive(Clone, Copy)]
pub struct MapBody<P, F> {
    policy: P,
    map: F,
}

impl<P: Sealed, F> Sealed for MapBody<P, F> {}

impl<B, P, F, T> ReplayPolicy<B> for MapBody<P, F>
where
    P: ReplayPolicy<B>,
    F: Fn(P::Body) -> T,
{
    type Body = T;
    type SavedBody = P::SavedBody;
    type Saved<R> = P::Saved<R>;

    fn wrap(&self, request: Request<B>) -> Request<Self::SavedBody> {
        self.policy.wrap(request)
    }

    fn finish(&self, request: Request<Self::SavedBody>) -> Request<T> {
        self.policy.finish(request).map(&self.map)
    }

    fn wrap_unsaved(&self, body: B) -> T {
        (self.map)(self.policy.wrap_unsaved(body))
    }

    fn save<R>(
        &self,
        request: &Request<Self::SavedBody>,
        sender: impl FnOnce() -> R,
    ) -> Option<Self::Saved<R>> {
        self.policy.save(request, sender)
    }

    fn restore_body(body: Self::SavedBody) -> Option<Self::SavedBody> {
        P::restore_body(body)
    }
}

impl<P: fmt::Debug, F> fmt::Debug for MapBody<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let map = any::type_name::<F>();
        f.debug_struct("MapBody")
            .field("policy", &self.policy)
            .field("map", &format_args!("{map}"))
            .finish()
    }
}
