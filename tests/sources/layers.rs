//! Sources beneath tower's layers.

use std::{
    fs,
    future::{Ready, ready},
};

use tokio::time::sleep;
use tower::{BoxError, Service, ServiceBuilder, retry::Policy};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, LoginError, LoginRequest,
    sources::{CommandToken, EnvToken, FileToken, StaticToken},
};

use crate::support::{folder, secs, token};

/// Retries once.
#[derive(Clone)]
struct RetryOnce(bool);

impl Policy<LoginRequest, AccessToken, BoxError> for RetryOnce {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut LoginRequest,
        result: &mut Result<AccessToken, BoxError>,
    ) -> Option<Ready<()>> {
        (result.is_err() && std::mem::take(&mut self.0)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &LoginRequest) -> Option<LoginRequest> {
        Some(request.clone())
    }
}

fn layered<L>(login: L) -> AuthRefresher
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError, Future: Send>
        + Clone
        + Send
        + 'static,
{
    AuthRefresher::new(
        ServiceBuilder::new().retry(RetryOnce(true)).timeout(secs(30)).service(login),
    )
}

#[tokio::test]
async fn every_source_works_beneath_retry_and_timeout() {
    let path = folder("layers").join("token");
    fs::write(&path, "abc").unwrap();
    let fixed = StaticToken::new(AccessToken::bearer("abc").unwrap());
    for refresher in [
        layered(fixed),
        layered(FileToken::new(&path)),
        layered(CommandToken::new("echo").arg("abc")),
    ] {
        assert_eq!(token(&refresher).await, "abc");
    }
    assert_eq!(token(&layered(EnvToken::new("CARGO_PKG_NAME"))).await, "tower-auth-refresh");
}

#[tokio::test(start_paused = true)]
async fn file_is_followed_beneath_layers_that_clone_the_source() {
    let path = folder("cloned").join("token");
    fs::write(&path, "t1").unwrap();
    let refresher = layered(FileToken::new(&path));
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");
}
