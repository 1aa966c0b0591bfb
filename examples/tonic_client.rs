//! A tonic channel below the layer: unary calls and a server stream for 10 seconds, with tokens that live for 2:
//!
//! ```sh
//! cargo run -p examples --features tonic --example tonic_client
//! ```
//!
//! The server is tonic's health service. It checks the metadata of each call, and revokes all tokens once. The layer
//! replays the call that fails with `UNAUTHENTICATED` with a new token.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use examples::{
    issuer::Issuer,
    load::{self, Report},
};
use tokio::net::TcpListener;
use tonic::{
    Status,
    body::Body,
    service::interceptor::InterceptedService,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{BoxError, ServiceBuilder};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher};

#[tokio::main]
async fn main() -> ExitCode {
    load::exit_code(run(Duration::from_secs(10)).await.map(|(report, messages)| {
        println!("messages={messages}");
        (report, messages > 1)
    }))
}

/// Makes unary calls for `duration` while one stream is open. Returns the number of messages of the stream too.
pub async fn run(duration: Duration) -> Result<(Report, u32), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let origin = format!("http://{}", serve(issuer.clone()).await?);

    let refresher = AuthRefresher::new(issuer.login());
    let channel = Channel::from_shared(origin.clone())?.connect().await?;
    // A generated client sends only the path of a call. The layer checks the origin instead.
    let service = ServiceBuilder::new()
        .map_err(Status::from)
        .layer(AuthRefreshLayer::new(refresher).origin(origin)?.grpc(Body::new))
        .service(channel);
    let mut client = HealthClient::new(service);

    let mut stream = client.clone().watch(HealthCheckRequest::default()).await?.into_inner();
    let messages = Arc::new(AtomicU32::new(0));
    let counted = messages.clone();
    let reading = tokio::spawn(async move {
        while let Ok(Some(_)) = stream.message().await {
            counted.fetch_add(1, Relaxed);
        }
    });

    let request = async || Ok(client.check(HealthCheckRequest::default()).await.map(drop)?);
    let report = load::run(duration, || issuer.count(), || issuer.revoke(), request).await;
    if reading.is_finished() {
        return Err("stream ended".into());
    }
    Ok((report, messages.load(Relaxed)))
}

/// Starts a health service that requires a valid token. Its status changes every 100 ms.
async fn serve(issuer: Issuer) -> Result<SocketAddr, BoxError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let guarded = InterceptedService::new(health, move |request: tonic::Request<()>| match request
        .metadata()
        .get("authorization")
    {
        Some(token) if issuer.accepts(token.as_bytes()) => Ok(request),
        _ => Err(Status::unauthenticated("no valid token")),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(
        Server::builder().add_service(guarded).serve_with_incoming(TcpIncoming::from(listener)),
    );
    tokio::spawn(async move {
        loop {
            for status in
                [tonic_health::ServingStatus::NotServing, tonic_health::ServingStatus::Serving]
            {
                reporter.set_service_status("", status).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    Ok(addr)
}
