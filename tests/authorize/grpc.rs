//! The layer on a channel of tonic, with a generated client, against a tonic server.
#![cfg(all(feature = "replay-buffered", feature = "tonic-0_14"))]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpListener, task::AbortHandle};
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, Error, LoginError, UnsafeDestination, login_fn,
    test_util::MockLogin,
};

use crate::support::{HOUR, token};

/// A health service that accepts one token. It records the tokens.
struct HealthServer {
    addr: SocketAddr,
    tokens: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl HealthServer {
    async fn start(accepted: &'static str) -> Self {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = tokens.clone();
        let guarded = InterceptedService::new(health, move |request: tonic::Request<()>| {
            let token = request
                .metadata()
                .get("authorization")
                .map_or("none", |token| token.to_str().unwrap());
            seen.lock().unwrap().push(token.to_owned());
            if token == accepted {
                Ok(request)
            } else {
                Err(Status::unauthenticated("not accepted"))
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server =
            Server::builder().add_service(guarded).serve_with_incoming(TcpIncoming::from(listener));
        Self { addr, tokens, task: tokio::spawn(server).abort_handle() }
    }

    /// Makes one call with a generated client, which sends only the path.
    async fn check(&self, layer: AuthRefreshLayer) -> Result<(), Status> {
        let service = ServiceBuilder::new()
            .map_err(Status::from)
            .layer(
                layer.origin(format!("http://{}", self.addr)).unwrap().grpc(tonic::body::Body::new),
            )
            .service(channel(self.addr));
        HealthClient::new(service).check(HealthCheckRequest::default()).await.map(drop)
    }
}

fn channel(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect_lazy()
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn layer() -> AuthRefreshLayer {
    AuthRefreshLayer::with_login(login_fn(|_| async { Ok(AccessToken::bearer("t1")?) }))
}

/// Makes one call whose login fails.
async fn check_with_failing_login(error: fn() -> LoginError) -> Status {
    let server = HealthServer::start("none").await;
    let login = login_fn(move |_| async move { Err(error().into()) });
    server.check(AuthRefreshLayer::with_login(login)).await.unwrap_err()
}

#[tokio::test]
async fn rejected_call_of_generated_client_is_replayed() {
    let server = HealthServer::start("Bearer t2").await;
    let builder = MockLogin::default().builder(|n| async move { token(n, HOUR) });
    let refresher = builder.min_rejection_age(Duration::ZERO).build().unwrap();
    server.check(AuthRefreshLayer::new(refresher)).await.unwrap();
    assert_eq!(*server.tokens.lock().unwrap(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test]
async fn failed_login_becomes_a_status_with_its_cause() {
    let status = check_with_failing_login(|| LoginError::permanent("invalid_client")).await;
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(
        status.message(),
        "no access token available: login failed: permanent failure: invalid_client"
    );
    assert!(LoginError::find(&status).is_some_and(LoginError::is_permanent));

    let status = check_with_failing_login(|| LoginError::transient("connection refused")).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "no access token available: login failed: connection refused");
}

#[tokio::test]
async fn error_of_the_channel_becomes_the_status_that_tonic_makes() {
    // A port that nothing listens on.
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let with_layer = ServiceBuilder::new()
        .map_err(Status::from)
        .layer(layer().allow_plaintext(true))
        .service(channel(addr));
    let status =
        HealthClient::new(with_layer).check(HealthCheckRequest::default()).await.unwrap_err();
    let bare =
        HealthClient::new(channel(addr)).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (bare.code(), bare.message()));
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn each_error_has_its_code() {
    async fn code(refresher: &AuthRefresher) -> Code {
        Status::from(refresher.token().await.unwrap_err()).code()
    }
    let pending = AuthRefresher::new(login_fn(|_| std::future::pending()));
    assert_eq!(code(&pending).await, Code::DeadlineExceeded);
    pending.shutdown();
    assert_eq!(code(&pending).await, Code::Cancelled);
    let hanging = AuthRefresher::builder(login_fn(|_| std::future::pending()));
    let hanging = hanging.login_timeout(Duration::from_secs(1)).build().unwrap();
    assert_eq!(code(&hanging).await, Code::Unavailable);
    let expired =
        login_fn(|_| async { Ok(AccessToken::bearer("abc")?.with_expires_in(Duration::ZERO)) });
    assert_eq!(code(&AuthRefresher::new(expired)).await, Code::Unavailable);
    let panicking = AuthRefresher::new(login_fn(|_| async { panic!("login panicked") }));
    assert_eq!(code(&panicking).await, Code::Internal);

    let client = ServiceBuilder::new()
        .layer(layer())
        .service_fn(|_: http::Request<()>| async { Ok::<_, BoxError>(http::Response::new(())) });
    let error = client.oneshot(http::Request::new(())).await.unwrap_err();
    assert!(matches!(error, Error::Destination(UnsafeDestination::NoAuthority)));
    let status = Status::from(error);
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("without a scheme and a host"), "{}", status.message());
}
