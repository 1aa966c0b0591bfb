//! [`GetArthurInternalUserOrg`]: `GET /users/me`.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{ArthurApi, ArthurError, UserResponse};
use crate::{
    AccessToken,
    transport::{HttpService, TransportFuture},
};

/// Returns the organization of a user that the API itself manages (`GET /users/me`).
///
/// For a user of an external identity provider, the API returns 403. [`GetCurrentOrg`](super::GetCurrentOrg) supports
/// both.
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{BoxError, ServiceExt, service_fn};
/// use tower_auth_refresh::{AccessToken, arthur::{ArthurApi, BaseUrl, GetArthurInternalUserOrg}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let http = service_fn(|_: Request<Full<Bytes>>| async {
/// #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(r#"{"organization_id":"acme"}"#)))
/// # });
/// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http);
/// let org = GetArthurInternalUserOrg::new(api).oneshot(AccessToken::raw("s3cr3t")?).await?;
/// assert_eq!(org, "acme");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GetArthurInternalUserOrg<S> {
    api: ArthurApi<S>,
}

impl<S> GetArthurInternalUserOrg<S> {
    /// Creates a service that sends its requests to `api`.
    pub fn new(api: ArthurApi<S>) -> Self {
        Self { api }
    }
}

impl<S: HttpService> Service<AccessToken> for GetArthurInternalUserOrg<S> {
    type Response = String;
    type Error = ArthurError;
    type Future = TransportFuture<String, ArthurError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ArthurError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, token: AccessToken) -> Self::Future {
        let api = self.api.clone();
        TransportFuture::new(async move {
            let user: UserResponse = api.get("/users/me", &token).await?.json()?;
            Ok(user.organization_id)
        })
    }
}
