//! [`GetCurrentOrg`]: `GET /users/me`, and if need be `GET /users/me/auth_info`.

use std::task::{Context, Poll};

use http::StatusCode;
use tower_service::Service;

use super::{ArthurApi, ArthurError, AuthenticationInfo, HttpService, TransportFuture, UserResponse, error::Kind};
use crate::AccessToken;

/// Asks for the one organization of a token's owner: that of `GET /users/me`, or where this is answered 403 the only one
/// of `GET /users/me/auth_info`. `None` if there is none.
///
/// # Errors
///
/// There are several: the error [lists them](ArthurError::organizations). And whatever can happen to an exchange.
#[derive(Clone, Debug)]
pub struct GetCurrentOrg<S> {
    api: ArthurApi<S>,
}

impl<S> GetCurrentOrg<S> {
    /// Asks `api`.
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

async fn current_org<S: HttpService>(api: ArthurApi<S>, token: AccessToken) -> Result<Option<String>, ArthurError> {
    match api.clone().get("/users/me", &token).await {
        Ok(answer) => {
            let user: UserResponse = answer.json()?;
            return Ok(Some(user.organization_id));
        }
        Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => {}
        Err(error) => return Err(error),
    }
    let answer = api.get("/users/me/auth_info", &token).await?;
    let mut ids = answer.json::<AuthenticationInfo>()?.organization_ids;
    match ids.len() {
        0 | 1 => Ok(ids.pop()),
        _ => Err(answer.error(Kind::several_organizations(ids, token.secret()))),
    }
}
