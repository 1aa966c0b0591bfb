//! Helpers for tests of the lifecycle: a client that returns the `Authorization` header it sent, and constructors.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses only some of the helpers"
)]

use std::time::Duration;

use http::{Request, Response, header::AUTHORIZATION};
use tower::{Service, ServiceExt, service_fn};
pub use tower_auth_refresh::test_util::{MockLogin, TestClock};
use tower_auth_refresh::{
    AccessToken, AuthRefresh, AuthRefreshLayer, AuthRefresher, BoxError, Error,
};

/// Returns the bearer token `t<n>`.
pub fn token(n: usize, lifetime: Duration) -> Result<AccessToken, BoxError> {
    Ok(AccessToken::bearer(format!("t{n}"))?.with_expires_in(lifetime))
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const HOUR: Duration = secs(3600);

/// Returns the layer over a service whose response body is the `Authorization` header of the request.
pub fn client(
    refresher: &AuthRefresher,
) -> AuthRefresh<
    impl Service<Request<()>, Response = Response<String>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + use<>,
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

/// Sends one request and returns the `Authorization` header that the inner service received.
pub async fn send(refresher: &AuthRefresher) -> Result<String, Error> {
    client(refresher).oneshot(request()).await.map(Response::into_body)
}

/// Returns the messages of an error and its causes, outermost first.
pub fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

/// Returns the message of an error's cause.
pub fn cause(error: Error) -> String {
    error.into_source().to_string()
}

/// The number of tasks of a refresher with a worker: the worker, and the task that compares the clocks.
pub const WORKER_TASKS: usize = 2;

/// Returns the number of alive tasks of the runtime, after all woken and aborted tasks have run.
pub async fn alive_tasks() -> usize {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
