//! [`RequestBuilderExt`]: sends a request of reqwest's builder through a stack.

use std::future::{Future, poll_fn};

use tower_service::Service;

use crate::Error;

/// Seals the trait, so that methods can be added later.
#[allow(unreachable_pub, reason = "a bound of a public trait")]
pub trait Sealed {}

impl Sealed for reqwest::RequestBuilder {}

/// Extends `reqwest::RequestBuilder`.
///
/// ```no_run
/// use tower::{BoxError, ServiceBuilder};
/// use tower_auth_refresh::{
///     AuthRefreshLayer, AuthRefresher,
///     reqwest_client::{RequestBuilderExt, ReqwestService},
/// };
///
/// # async fn order(refresher: AuthRefresher) -> Result<String, BoxError> {
/// let reqwest = reqwest::Client::new();
/// let client = ServiceBuilder::new()
///     .layer(AuthRefreshLayer::new(refresher))
///     .service(ReqwestService::new(reqwest.clone()));
/// Ok(reqwest.get("https://api.example.com/orders/7").send_with(&client).await?.text().await?)
/// # }
/// ```
pub trait RequestBuilderExt: Sealed {
    /// Sends the request with `service` instead of the builder's own client. Use it in place of
    /// [`send`](reqwest::RequestBuilder::send).
    ///
    /// The service is a stack over a [`ReqwestService`](super::ReqwestService). If a layer changes the type of the
    /// response's body, add tower-http's `map_response_body(reqwest::Body::wrap)` above it.
    ///
    /// Dropping the future cancels the request. A login that it waits for continues.
    ///
    /// # Errors
    ///
    /// The request is invalid, or the service fails. [`Error::into_source`] returns reqwest's own error.
    ///
    /// ```no_run
    /// use tower_auth_refresh::{
    ///     AuthRefresh, AuthRefresher, Error,
    ///     reqwest_client::{RequestBuilderExt, ReqwestService},
    /// };
    ///
    /// async fn order(reqwest: &reqwest::Client, client: &AuthRefresh<ReqwestService>) -> Result<String, Error> {
    ///     let response = reqwest.get("https://api.example.com/orders/7").send_with(client).await?;
    ///     Ok(response.error_for_status()?.text().await?)
    /// }
    /// ```
    fn send_with<S, B>(
        self,
        service: &S,
    ) -> impl Future<Output = Result<reqwest::Response, S::Error>>
    where
        S: Service<http::Request<reqwest::Body>, Response = http::Response<B>> + Clone,
        S::Error: From<reqwest::Error>,
        B: Into<reqwest::Body>;
}

impl RequestBuilderExt for reqwest::RequestBuilder {
    async fn send_with<S, B>(self, service: &S) -> Result<reqwest::Response, S::Error>
    where
        S: Service<http::Request<reqwest::Body>, Response = http::Response<B>> + Clone,
        S::Error: From<reqwest::Error>,
        B: Into<reqwest::Body>,
    {
        let request = self.build().and_then(http::Request::try_from)?;
        let mut service = service.clone();
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await.map(reqwest::Response::from)
    }
}

/// So that `?` works on a request that cannot be built, and on the body of a response.
impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Self::from_inner(error)
    }
}
