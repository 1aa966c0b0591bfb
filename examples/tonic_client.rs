//! The layer on a tonic channel: calls and a server's stream for ten seconds, with tokens that live for two:
//!
//! ```sh
//! cargo run --example tonic_client
//! ```
//!
//! The server, tonic's health service, checks the metadata of each call. Meanwhile it takes back all tokens; the call
//! that is answered `UNAUTHENTICATED` is sent once more, with a newer one.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Request;
use tokio::net::TcpListener;
use tonic::{
    Status,
    body::Body,
    service::interceptor::InterceptedService,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{BoxError, ServiceBuilder};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, BufferedBody, GrpcUnauthenticatedAsRejection, ReplayBuffered,
};

#[path = "issuer/mod.rs"]
mod issuer;
#[path = "trial/mod.rs"]
mod trial;

use issuer::Issuer;
use trial::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    trial::told(run(Duration::from_secs(10)).await.map(|(outcome, messages)| {
        println!("messages={messages}");
        (outcome, messages > 1)
    }))
}

/// Makes unary calls for so long, and holds a stream meanwhile that is opened once: how many messages came by it?
pub async fn run(lasting: Duration) -> Result<(Outcome, u32), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let origin = format!("http://{}", serve(issuer.clone()).await?);

    // One identity, and the layer on the channel. tonic's bodies are streams: what has been sent of one is kept for a replay.
    let refresher = AuthRefresher::new(issuer.login());
    let channel = Channel::from_shared(origin.clone())?.connect().await?;
    let service = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).reject_on(GrpcUnauthenticatedAsRejection).replay(ReplayBuffered::new()))
        .map_request(|request: Request<BufferedBody<Body>>| request.map(Body::new))
        .service(channel);
    // With the origin, so that the layer sees where the token goes.
    let mut client = HealthClient::with_origin(service, origin.parse()?);

    let mut stream = client.clone().watch(HealthCheckRequest::default()).await?.into_inner();
    let messages = Arc::new(AtomicU32::new(0));
    let counted = messages.clone();
    let reading = tokio::spawn(async move {
        while let Ok(Some(_)) = stream.message().await {
            counted.fetch_add(1, Relaxed);
        }
    });

    let request = async || Ok(client.check(HealthCheckRequest::default()).await.map(drop)?);
    let outcome = trial::run(lasting, || issuer.count(), || issuer.revoke(), request).await;
    if reading.is_finished() {
        return Err("the stream has ended".into());
    }
    Ok((outcome, messages.load(Relaxed)))
}

/// A health service that lets in only who has a valid token, and changes its mind every 100 ms.
async fn serve(issuer: Issuer) -> Result<SocketAddr, BoxError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let guarded = InterceptedService::new(health, move |request: tonic::Request<()>| {
        match request.metadata().get("authorization") {
            Some(token) if issuer.accepts(token.as_bytes()) => Ok(request),
            _ => Err(Status::unauthenticated("no valid token")),
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(Server::builder().add_service(guarded).serve_with_incoming(TcpIncoming::from(listener)));
    tokio::spawn(async move {
        loop {
            for status in [tonic_health::ServingStatus::NotServing, tonic_health::ServingStatus::Serving] {
                reporter.set_service_status("", status).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    Ok(addr)
}
