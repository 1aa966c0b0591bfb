//! hyper-util's client below the layer, over TLS, for 8 seconds with tokens that live for 2:
//!
//! ```sh
//! cargo run -p examples --features http-client,tls --example hyper_client
//! ```
//!
//! The server revokes all tokens once. The layer replays the rejected request with a new token.

use std::{process::ExitCode, sync::Arc, time::Duration};

use bytes::Bytes;
use examples::{
    arthur_server::Config,
    arthur_server_tls,
    load::{self, Report},
};
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

#[tokio::main]
async fn main() -> ExitCode {
    load::exit_code(run(Duration::from_secs(8)).await.map(|report| (report, true)))
}

/// Sends a request every 50 ms for `duration`.
pub async fn run(duration: Duration) -> Result<Report, BoxError> {
    let config = Config { ttl: Duration::from_secs(2), ..Config::default() };
    let credentials = Credentials::new(&config.login, &config.password);
    let (server, certificate) = arthur_server_tls::start(config)?;

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
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_all_versions()
        .build();
    let hyper = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    let mut client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).replay(ReplayClone))
        .service(hyper);

    let request = async || {
        let request =
            Request::get(format!("{}/api/v3/users/me", server.base_url())).body(Full::default())?;
        let response = client.ready().await?.call(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        load::success(status)
    };
    Ok(load::run(duration, || server.logins(), || server.revoke(), request).await)
}
