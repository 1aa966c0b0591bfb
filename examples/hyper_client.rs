//! The layer on hyper-util's client, over TLS, for eight seconds with tokens that live for two:
//!
//! ```sh
//! cargo run --example hyper_client
//! ```
//!
//! Meanwhile the server takes back all tokens. The request that finds out is sent once more, with a newer one.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, ReplayClone,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, UserLogin},
    http_client::HttpClient,
};

#[path = "server/mod.rs"]
mod server;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Duration::from_secs(8)).await {
        Ok(Outcome { requests, failed: 0, logins }) => {
            println!("requests={requests} failed=0 logins={logins}");
            ExitCode::SUCCESS
        }
        Ok(Outcome { requests, failed, logins }) => {
            println!("requests={requests} failed={failed} logins={logins}");
            ExitCode::FAILURE
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
    /// Sent, and answered with something.
    pub requests: u32,
    /// Answered with something else than success.
    pub failed: u32,
    /// Answered with a token.
    pub logins: u64,
}

/// Sends a request every 50 ms, for so long.
pub async fn run(lasting: Duration) -> Result<Outcome, BoxError> {
    let config = server::Config { ttl: Duration::from_secs(2), tls: true, ..server::Config::default() };
    let credentials = Credentials::new(&config.login, &config.password);
    let server = server::Server::start(config)?;
    let certificate = server.certificate().ok_or("the server speaks no TLS")?.clone();

    // How to log in.
    let http = HttpClient::builder().add_root_certificate(certificate.clone()).build()?;
    let api = ArthurApi::new(BaseUrl::parse(&server.base_url())?, http);
    let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), credentials));

    // Where the token goes: any hyper client.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_all_versions().build();
    let hyper = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    let mut client =
        ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone)).service(hyper);

    let (start, mut outcome) = (Instant::now(), Outcome { requests: 0, failed: 0, logins: 0 });
    let (mut newest, mut revoked) = (start, false);
    while start.elapsed() < lasting {
        // Not a token that is quite new: it might not be valid everywhere yet, and its rejection would not count.
        if !revoked && start.elapsed() > lasting / 3 && newest.elapsed() > Duration::from_millis(500) {
            revoked = true;
            server.revoke();
            println!("{:4.1}s  the server has taken back all tokens", start.elapsed().as_secs_f32());
        }
        let request = Request::get(format!("{}/api/v3/users/me", server.base_url())).body(Full::default())?;
        let response = client.ready().await?.call(request).await?;
        outcome.requests += 1;
        if !response.status().is_success() {
            outcome.failed += 1;
            println!("{:4.1}s  {}", start.elapsed().as_secs_f32(), response.status());
        }
        response.into_body().collect().await?;
        if server.logins() > outcome.logins {
            outcome.logins = server.logins();
            newest = Instant::now();
            let generation = refresher.status().generation;
            println!("{:4.1}s  token #{generation}", start.elapsed().as_secs_f32());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(outcome)
}
