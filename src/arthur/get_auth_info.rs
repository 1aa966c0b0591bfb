//! [`GetAuthInfo`]: `GET /users/me/auth_info`.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{ArthurApi, ArthurError, AuthenticationInfo, HttpService, TransportFuture};
use crate::AccessToken;

/// Asks what a token says of its owner: `GET /users/me/auth_info`.
#[derive(Clone, Debug)]
pub struct GetAuthInfo<S> {
    api: ArthurApi<S>,
}

impl<S> GetAuthInfo<S> {
    /// Asks `api`.
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
