//! The layer on hyper-util's client, over TLS, for eight seconds with tokens that live for two:
//!
//! ```sh
//! cargo run --example hyper_client
//! ```
//!
//! Meanwhile the server takes back all tokens. The request that finds out is sent once more, with a newer one.

use std::{process::ExitCode, sync::Arc, time::Duration};

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
#[path = "trial/mod.rs"]
mod trial;

use trial::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    trial::told(run(Duration::from_secs(8)).await.map(|outcome| (outcome, true)))
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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_all_versions().build();
    let hyper = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    let mut client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher).replay(ReplayClone)).service(hyper);

    let request = async || {
        let request = Request::get(format!("{}/api/v3/users/me", server.base_url())).body(Full::default())?;
        let response = client.ready().await?.call(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        trial::success(status)
    };
    Ok(trial::run(lasting, || server.logins(), || server.revoke(), request).await)
}
