//! `AuthRefreshLayer::keyed`: the layer for many identities.

use http::{Extensions, HeaderMap, Uri};

use super::{
    classify::UnauthorizedAsRejection,
    config::Config,
    keyed_identity::{KeyFromFn, KeyedIdentity},
    layer::AuthRefreshLayer,
    replay::policy::NeverReplay,
};
use crate::AuthRefreshers;

impl<K> AuthRefreshLayer<NeverReplay, UnauthorizedAsRejection, KeyedIdentity<K>> {
    /// Creates a layer with the default settings. Each request gets the token of its key.
    ///
    /// The key is in the request's [extensions](http::Request::extensions). For a key from another part of the request,
    /// set [`key_by`](AuthRefreshLayer::key_by).
    ///
    /// - A request without a key fails with `Error::Key`. There is no default identity. A layer below one that drops
    ///   extensions, such as a redirect layer, therefore fails and does not use another identity's token.
    /// - A replay uses the identity of the first attempt.
    /// - A service stores the key of its last call. So a service that makes several calls in a row for one key only
    ///   compares two keys. Until its next call, that key is not evicted.
    ///
    /// ```
    /// use http::{Request, Response, header::AUTHORIZATION};
    /// use tower::{BoxError, ServiceBuilder, ServiceExt};
    /// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefreshers, login_fn};
    ///
    /// #[derive(Clone, PartialEq, Eq, Hash)]
    /// struct TenantId(u64);
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let refreshers = AuthRefreshers::builder(|tenant: &TenantId| {
    ///     let secret = format!("token-of-{}", tenant.0);
    ///     AuthRefresher::builder(login_fn(move |_| {
    ///         let secret = secret.clone();
    ///         async move { Ok(AccessToken::bearer(secret)?) }
    ///     }))
    /// })
    /// .build()?;
    /// let client = ServiceBuilder::new()
    ///     .layer(AuthRefreshLayer::keyed(refreshers))
    ///     .service_fn(|request: Request<()>| async move {
    ///         Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
    ///     });
    ///
    /// let request = Request::get("https://api.example.com/").extension(TenantId(7)).body(())?;
    /// assert_eq!(client.clone().oneshot(request).await?.body(), "Bearer token-of-7");
    /// let request = Request::get("https://api.example.com/").body(())?;
    /// assert!(client.oneshot(request).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn keyed(refreshers: AuthRefreshers<K>) -> Self {
        Self::from_parts(KeyedIdentity::new(refreshers), Config::default())
    }
}

impl<P, C, K, Q> AuthRefreshLayer<P, C, KeyedIdentity<K, Q>> {
    /// Sets a function that returns the key of a request, from its URI, headers and extensions. By default, the key is
    /// in the extensions.
    ///
    /// `None` means that the request has no key: it fails. Take the key from what the program decides, such as the
    /// destination. A header that a client sends lets the client choose whose token is used.
    ///
    /// The function must return the same key for equal requests: it can run twice for one call.
    ///
    /// A key that allocates, such as a `String`, allocates in each call. An `Arc<str>` or a number does not.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tower_auth_refresh::{AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefreshers, login_fn};
    /// # let refreshers = AuthRefreshers::builder(|_: &Option<u16>| {
    /// #     AuthRefresher::builder(login_fn(|_| async { Ok(AccessToken::bearer("abc")?) }))
    /// # })
    /// # .build()?;
    /// // One identity for each port of the API.
    /// let layer = AuthRefreshLayer::keyed(refreshers).key_by(|uri, _headers, _extensions| Some(uri.port_u16()));
    /// # let _ = layer;
    /// # Ok::<(), tower_auth_refresh::InvalidSetting>(())
    /// ```
    #[must_use]
    pub fn key_by<F>(self, key: F) -> AuthRefreshLayer<P, C, KeyedIdentity<K, KeyFromFn<F>>>
    where
        F: Fn(&Uri, &HeaderMap, &Extensions) -> Option<K>,
    {
        self.map_identity(|identity| identity.with_key_fn(key))
    }
}
