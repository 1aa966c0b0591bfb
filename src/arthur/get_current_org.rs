//! [`GetCurrentOrg`]: `GET /users/me`, or `GET /users/me/auth_info`.

use std::task::{Context, Poll};

use http::StatusCode;
use tower_service::Service;

use super::{ArthurApi, ArthurError, AuthenticationInfo, UserResponse, error::Kind};
use crate::{
    AccessToken,
    transport::{HttpService, TransportFuture},
};

/// Returns the organization of a token's owner, or `None` if there is none.
///
/// It is the organization of `GET /users/me`. If the API returns 403 for that, it is the only organization of
/// `GET /users/me/auth_info`.
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{BoxError, ServiceExt, service_fn};
/// use tower_auth_refresh::{AccessToken, arthur::{ArthurApi, BaseUrl, GetCurrentOrg}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let http = service_fn(|_: Request<Full<Bytes>>| async {
/// #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(r#"{"organization_id":"acme"}"#)))
/// # });
/// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http);
/// let org = GetCurrentOrg::new(api).oneshot(AccessToken::raw("s3cr3t")?).await?;
/// assert_eq!(org.as_deref(), Some("acme"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// There are several organizations, which the error [lists](ArthurError::organizations), or a request failed.
#[derive(Clone, Debug)]
pub struct GetCurrentOrg<S> {
    api: ArthurApi<S>,
}

impl<S> GetCurrentOrg<S> {
    /// Creates a service that sends its requests to `api`.
    pub fn new(api: ArthurApi<S>) -> Self {
        Self { api }
    }
}

impl<S: HttpService> Service<AccessToken> for GetCurrentOrg<S> {
    type Response = Option<String>;
    type Error = ArthurError;
    type Future = TransportFuture<Option<String>, ArthurError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ArthurError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, token: AccessToken) -> Self::Future {
        TransportFuture::new(current_org(self.api.clone(), token))
    }
}

async fn current_org<S: HttpService>(
    api: ArthurApi<S>,
    token: AccessToken,
) -> Result<Option<String>, ArthurError> {
    match api.clone().get("/users/me", &token).await {
        Ok(response) => {
            let user: UserResponse = response.json()?;
            return Ok(Some(user.organization_id));
        }
        Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => {}
        Err(error) => return Err(error),
    }
    let response = api.get("/users/me/auth_info", &token).await?;
    let mut ids = response.json::<AuthenticationInfo>()?.organization_ids;
    match ids.len() {
        0 | 1 => Ok(ids.pop()),
        _ => Err(response.error(Kind::several_organizations(ids, token.secret()))),
    }
}
