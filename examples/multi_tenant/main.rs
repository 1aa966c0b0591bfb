//! An axum service that calls an upstream for the tenant of each incoming request:
//!
//! ```sh
//! cargo run -p examples --features multi-tenant --example multi_tenant
//! ```
//!
//! For 12 seconds, 40 tenants send requests to the service. Each tenant has tokens of its own, which live for 4 seconds.
//! The issuer revokes the tokens of one tenant, and replaces the secret of another. No request fails, and the upstream
//! sees no request with the token of another tenant.
//!
//! `service.rs` is the service. `servers.rs` has the issuer and the upstream.

use std::{
    fmt,
    process::ExitCode,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use examples::load;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::BoxError;

mod servers;
mod service;

use servers::Servers;
use service::{TenantId, Tenants};

const TENANTS: usize = 40;
const LIFETIME: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(250);
/// A rejection does not count if its token is less than a second old, because a server may not know the token yet.
const MIN_AGE: Duration = Duration::from_millis(1_500);
/// How long a step can take on a slow machine.
const MAX_STEP: Duration = Duration::from_secs(60);

/// The result of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of tenants that have a refresher.
    pub tenants: usize,
    /// The number of tokens issued.
    pub logins: u64,
    /// The largest number of logins under way at the same time.
    pub most_logins_at_once: usize,
    /// The number of requests.
    pub requests: u64,
    /// The number of requests that failed.
    pub failed: u64,
    /// The number of requests for one tenant with the token of another.
    pub mixed_up: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenants, logins, most_logins_at_once, requests, failed, mixed_up } = self;
        write!(
            f,
            "tenants={tenants} logins={logins} most_logins_at_once={most_logins_at_once} requests={requests} \
             failed={failed} mixed_up={mixed_up}"
        )
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Duration::from_secs(12)).await {
        Ok(report) => {
            println!("{report}");
            let is_success = report.failed == 0 && report.mixed_up == 0;
            if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{}", load::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Sends requests for `duration`.
pub async fn run(duration: Duration) -> Result<Report, BoxError> {
    let servers = Servers::new(LIFETIME);
    let tenants: Vec<_> = (1..=TENANTS).map(tenant).collect();
    let id = |tenant: &str| TenantId(tenant.into());
    let secret = |tenant: &String| (tenant.clone(), format!("secret-of-{tenant}"));
    servers.lock().secrets = tenants.iter().map(secret).collect();
    let known = Arc::new(Tenants {
        by_api_key: tenants.iter().map(|tenant| (api_key(tenant), id(tenant))).collect(),
        secrets: RwLock::new(tenants.iter().map(|tenant| (id(tenant), secret(tenant).1)).collect()),
    });
    let url = servers.serve().await?;
    let refreshers = service::refreshers(known.clone(), &format!("{url}/token"))?;
    let service = service::router(known.clone(), refreshers.clone(), &url);
    let service_url = servers::serve(service).await?;

    let start = Instant::now();
    let log = |event: &str| {
        let (time, logins) = (start.elapsed().as_secs_f32(), servers.lock().logins);
        println!("{time:4.1}s  {event:<50} tenants={} logins={logins}", refreshers.len());
    };
    let (stop, stopped) = watch::channel(false);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut clients = JoinSet::new();
    for tenant in &tenants {
        let url = format!("{service_url}/orders");
        clients.spawn(send(client.clone(), url, tenant.clone(), stopped.clone()));
    }

    log("service started");
    sleep(duration / 3).await;
    let revoked = &tenant(7);
    wait_until(|| servers.lock().revoke(revoked, MIN_AGE)).await?;
    log(&format!("tokens of {revoked} revoked"));
    wait_until(|| servers.lock().has_token(revoked)).await?;
    log(&format!("{revoked} has a new token"));

    sleep((duration * 2 / 3).saturating_sub(start.elapsed())).await;
    let renewed = &tenant(11);
    let (since, new_secret) = (Instant::now(), "new-secret".to_owned());
    servers.lock().secrets.insert(renewed.clone(), new_secret.clone());
    known.secrets.write().unwrap_or_else(PoisonError::into_inner).insert(id(renewed), new_secret);
    // The next request of the tenant calls the factory, which reads the new secret.
    refreshers.forget(&id(renewed));
    log(&format!("secret of {renewed} replaced"));
    wait_until(|| servers.lock().last_login(renewed) > Some(since)).await?;
    log(&format!("{renewed} has a token for its new secret"));

    sleep(duration.saturating_sub(start.elapsed())).await;
    stop.send_replace(true);
    let mut report = Report { tenants: refreshers.len(), ..Report::default() };
    while let Some(counts) = clients.join_next().await {
        let (requests, failed) = counts?;
        report.requests += requests;
        report.failed += failed;
    }
    let issued = servers.lock();
    report.logins = issued.logins;
    report.most_logins_at_once = issued.most_logins_at_once;
    report.mixed_up = issued.mixed_up;
    Ok(report)
}

fn tenant(number: usize) -> String {
    format!("tenant-{number:02}")
}

fn api_key(tenant: &str) -> String {
    format!("api-key-of-{tenant}")
}

async fn wait_until(condition: impl Fn() -> bool) -> Result<(), BoxError> {
    let check = async {
        while !condition() {
            sleep(PAUSE / 10).await;
        }
    };
    Ok(timeout(MAX_STEP, check).await?)
}

/// Sends the requests of one tenant. Returns their number, and the number of those that failed.
async fn send(
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    tenant: String,
    stopped: watch::Receiver<bool>,
) -> (u64, u64) {
    let send_one = async || {
        let request =
            Request::get(&url).header("x-api-key", api_key(&tenant)).body(Full::default())?;
        let response = client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let is_own = status == StatusCode::OK && body == tenant;
        if is_own { Ok::<_, BoxError>(()) } else { Err(status.to_string().into()) }
    };
    let (mut requests, mut failed) = (0, 0);
    while !*stopped.borrow() {
        requests += 1;
        if let Err(error) = send_one().await {
            failed += 1;
            println!("       request of {tenant} failed: {}", load::with_causes(&*error));
        }
        sleep(PAUSE).await;
    }
    (requests, failed)
}
