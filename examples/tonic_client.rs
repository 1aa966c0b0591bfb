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
    time::{Duration, Instant},
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
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, BufferedBody, GrpcUnauthenticated, ReplayBuffered};

#[path = "issuer/mod.rs"]
mod issuer;

use issuer::Issuer;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Duration::from_secs(10)).await {
        Ok(outcome) => {
            println!("{outcome:?}");
            if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// Unary calls.
    pub calls: u32,
    /// Those that were answered with an error.
    pub failed: u32,
    /// What came by the stream, which was opened once.
    pub messages: u32,
    /// Tokens that were needed.
    pub logins: u32,
}

/// Calls every 50 ms, for so long, and holds a stream meanwhile.
pub async fn run(lasting: Duration) -> Result<Outcome, BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let origin = format!("http://{}", serve(issuer.clone()).await?);

    // One identity, and the layer on the channel. tonic's bodies are streams: what has been sent of one is kept for a replay.
    let refresher = AuthRefresher::new(issuer.login());
    let channel = Channel::from_shared(origin.clone())?.connect().await?;
    let service = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).reject_on(GrpcUnauthenticated).replay(ReplayBuffered::new()))
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

    let (start, mut newest, mut revoked) = (Instant::now(), Instant::now(), false);
    let mut outcome = Outcome { calls: 0, failed: 0, messages: 0, logins: 0 };
    while start.elapsed() < lasting {
        // Not a token that is quite new: it might not be valid everywhere yet, and its rejection would not count.
        if !revoked && start.elapsed() > lasting / 3 && newest.elapsed() > Duration::from_millis(500) {
            revoked = true;
            issuer.revoke();
            println!("{:4.1}s  the server has taken back all tokens", start.elapsed().as_secs_f32());
        }
        outcome.calls += 1;
        if let Err(status) = client.check(HealthCheckRequest::default()).await {
            outcome.failed += 1;
            println!("{:4.1}s  {status}", start.elapsed().as_secs_f32());
        }
        if issuer.count() > outcome.logins {
            outcome.logins = issuer.count();
            newest = Instant::now();
            println!("{:4.1}s  token t{}", start.elapsed().as_secs_f32(), outcome.logins);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if reading.is_finished() {
        return Err("the stream has ended".into());
    }
    outcome.messages = messages.load(Relaxed);
    Ok(outcome)
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
