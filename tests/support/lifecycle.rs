//! What the tests of the lifecycle share beside the crate's own kit: a service that tells which token it was sent.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses a part")]

use std::time::Duration;

use http::{Request, Response, header::AUTHORIZATION};
use tower::{Service, ServiceExt, service_fn};
pub use tower_auth_refresh::test_util::{Logins, TestClock};
use tower_auth_refresh::{AccessToken, AuthRefresh, AuthRefreshLayer, AuthRefresher, BoxError, Error};

/// The token `t<n>`.
pub fn token(n: usize, lifetime: Duration) -> Result<AccessToken, BoxError> {
    Ok(AccessToken::bearer(format!("t{n}"))?.with_expires_in(lifetime))
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const HOUR: Duration = secs(3600);

/// The layer over a service that answers with the `Authorization` header it was sent.
pub fn client(
    refresher: &AuthRefresher,
) -> AuthRefresh<
    impl Service<Request<()>, Response = Response<String>, Error = BoxError, Future: Send> + Clone + Send + use<>,
> {
    let echo = service_fn(|request: Request<()>| async move {
        let header = request.headers().get(AUTHORIZATION).ok_or("no token")?;
        Ok::<_, BoxError>(Response::new(header.to_str()?.to_owned()))
    });
    tower::ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(echo)
}

pub fn request() -> Request<()> {
    Request::get("https://api.example.com/").body(()).unwrap()
}

/// Sends one request; returns the `Authorization` header that arrived.
pub async fn send(refresher: &AuthRefresher) -> Result<String, Error> {
    client(refresher).oneshot(request()).await.map(Response::into_body)
}

/// The causes of an error, outermost first.
pub fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

/// The message of an error's cause.
pub fn cause(error: Error) -> String {
    error.into_source().to_string()
}

/// The tasks of a refresher with a worker: the worker, and the task that compares its clocks.
pub const WORKER_TASKS: usize = 2;

/// Returns the number of tasks of the runtime, after those that have been woken or aborted have run.
pub async fn alive_tasks() -> usize {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
