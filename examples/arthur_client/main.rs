//! Requests to a deployment of the Arthur API, one a second until Ctrl-C:
//!
//! ```sh
//! ARTHUR_PASSWORD=… cargo run -p examples --features http-client --example arthur_client -- \
//!     --url https://arthur.example --login jo@example.com [--path /api/v3/users/me] [--no-verify-ssl]
//! ```
//!
//! The environment variables `ARTHUR_API_URL`, `ARTHUR_LOGIN` and `ARTHUR_VERIFY_SSL=false` replace the arguments.

use std::{
    env,
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use examples::{
    load,
    timeline::{Counts, Timeline},
};
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::{task::JoinSet, time::sleep};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, GetCurrentOrg, UserLogin},
    http_client::HttpClient,
};

mod arguments;

use arguments::{Deployment, Task, USAGE};

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Task::new(env::args().skip(1), |name| env::var(name).ok()) {
        Some(Task::Run(deployment)) => run_against(deployment).await,
        Some(Task::Help) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        None => Err(USAGE.into()),
    };
    match result {
        Ok(counts) if counts.failed.load(Relaxed) == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", load::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run_against(deployment: Deployment) -> Result<Arc<Counts>, BoxError> {
    let Deployment { url, login, password, path, verify_ssl } = deployment;
    if !verify_ssl {
        eprintln!(
            "warning: certificates are not verified, an attacker on the network can read the password"
        );
    }
    let base_url = BaseUrl::parse(&url)?;
    let http = HttpClient::builder().danger_accept_invalid_certs(!verify_ssl).build()?;
    let api = ArthurApi::new(base_url.clone(), http.clone());
    let login = ArthurLogin::new(UserLogin::new(api.clone()), Credentials::new(login, password));
    let refresher = AuthRefresher::new(login);

    let organization = GetCurrentOrg::new(api).oneshot(refresher.token().await?).await?;
    println!("organization: {}", organization.as_deref().unwrap_or("none"));

    let mut client =
        ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(http);
    let counts = Arc::new(Counts::default());
    let timeline = Timeline::start(counts.clone());
    timeline.log("new token in use", &refresher.status());
    let mut tasks = JoinSet::new();
    tasks.spawn(timeline.clone().follow(refresher.subscribe()));

    let url = format!("{base_url}{path}");
    let mut send = async || {
        let request = Request::get(&url).body(Full::<Bytes>::default())?;
        let response = client.ready().await?.call(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        load::success(status)
    };
    let send_every_second = async {
        loop {
            if let Err(error) = send().await {
                counts.failed.fetch_add(1, Relaxed);
                println!("          request failed: {}", load::with_causes(&*error));
            }
            if counts.requests.fetch_add(1, Relaxed) % 60 == 59 {
                timeline.log("60 requests sent", &refresher.status());
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = send_every_second => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tasks.shutdown().await;
    println!("{} logins={}", counts.summary(), refresher.status().generation);
    Ok(counts)
}
