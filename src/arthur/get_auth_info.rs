//! [`GetAuthInfo`]: `GET /users/me/auth_info`.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{ArthurApi, ArthurError, AuthenticationInfo};
use crate::{
    AccessToken,
    transport::{HttpService, TransportFuture},
};

/// Returns what a token contains about its owner (`GET /users/me/auth_info`).
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{BoxError, ServiceExt, service_fn};
/// use tower_auth_refresh::{AccessToken, arthur::{ArthurApi, BaseUrl, GetAuthInfo}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let http = service_fn(|_: Request<Full<Bytes>>| async {
/// #     let info = r#"{"organization_ids":["acme"],"issuer":"arthur","username":"jo","first_name":"Jo","last_name":"Doe",
/// #         "email":"jo@example.com","roles":[]}"#;
/// #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(info)))
/// # });
/// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http);
/// let info = GetAuthInfo::new(api).oneshot(AccessToken::raw("s3cr3t")?).await?;
/// assert_eq!(info.organization_ids, ["acme"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GetAuthInfo<S> {
    api: ArthurApi<S>,
}

impl<S> GetAuthInfo<S> {
    /// Creates a service that sends its requests to `api`.
    pub fn new(api: ArthurApi<S>) -> Self {
        Self { api }
    }
}

impl<S: HttpService> Service<AccessToken> for GetAuthInfo<S> {
    type Response = AuthenticationInfo;
    type Error = ArthurError;
    type Future = TransportFuture<AuthenticationInfo, ArthurError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ArthurError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, token: AccessToken) -> Self::Future {
        let api = self.api.clone();
        TransportFuture::new(async move { api.get("/users/me/auth_info", &token).await?.json() })
    }
}
