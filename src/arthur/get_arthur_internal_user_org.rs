//! [`GetArthurInternalUserOrg`]: `GET /users/me`.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{ArthurApi, ArthurError, HttpService, TransportFuture, UserResponse};
use crate::AccessToken;

/// Asks for the organization of a user that the API itself manages: `GET /users/me`.
///
/// A user of an external identity provider is answered 403; [`GetCurrentOrg`](super::GetCurrentOrg) knows both.
#[derive(Clone, Debug)]
pub struct GetArthurInternalUserOrg<S> {
    api: ArthurApi<S>,
}

impl<S> GetArthurInternalUserOrg<S> {
    /// Asks `api`.
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
