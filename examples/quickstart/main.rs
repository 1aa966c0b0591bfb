//! The main job, seen: requests without pause through refreshes and an outage of the login, and none of them fails.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! starts a server of its own, with tokens that live for 6 seconds. Against a real deployment, once a second until Ctrl-C:
//!
//! ```sh
//! cargo run --example quickstart -- --url https://arthur.example --login jo@example.com --password … \
//!     [--path /api/v3/users/me] [--no-verify-ssl]
//! ```
//!
//! or with `ARTHUR_API_URL`, `ARTHUR_LOGIN`, `ARTHUR_PASSWORD` and `ARTHUR_VERIFY_SSL=false` in the environment.

use std::{
    env,
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, GetCurrentOrg, UserLogin},
    http_client::HttpClient,
};

mod arguments;
#[path = "../server/mod.rs"]
mod server;
mod timeline;

use arguments::{Deployment, Task, USAGE};
use timeline::{Counts, Timeline};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Task::new(env::args().skip(1), |name| env::var(name).ok()) {
        Some(Task::OwnServer) => against_a_server_of_its_own().await,
        Some(Task::Deployment(deployment)) => against(deployment).await,
        Some(Task::Help) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        None => Err(USAGE.into()),
    };
    match outcome {
        Ok(counts) if counts.failed.load(Relaxed) == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn against_a_server_of_its_own() -> Result<Arc<Counts>, BoxError> {
    let config = server::Config { ttl: Duration::from_secs(6), ..server::Config::default() };
    let credentials = Credentials::new(&config.login, &config.password);
    let server = server::Server::start(config)?;
    let base_url = BaseUrl::parse(&server.base_url())?;

    let api = ArthurApi::new(base_url, HttpClient::builder().build()?);
    let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), credentials));
    let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(hyper);

    let counts = Arc::new(Counts::default());
    let timeline = Timeline::start(counts.clone());
    let watching = tokio::spawn(timeline.clone().watch(refresher.subscribe()));
    let mut requests = JoinSet::new();
    for _ in 0..4 {
        let url = format!("{}/api/v3/echo", server.base_url());
        requests.spawn(send_without_end(client.clone(), url, Duration::ZERO, counts.clone()));
    }

    let outage = async {
        // Two seconds into the life of the second token, so that its refresh meets the outage.
        let mut status = refresher.subscribe();
        status.wait_for(|status| status.generation == 2).await?;
        sleep(Duration::from_secs(2)).await;
        server.outage(Duration::from_secs(2));
        timeline.tell("the login goes down for 2 seconds", &refresher.status());
        Ok::<_, BoxError>(())
    };
    let start = Instant::now();
    timeout(Duration::from_secs(15), outage).await.map_err(|_| "no second token came")??;
    sleep(Duration::from_secs(20).saturating_sub(start.elapsed())).await;
    requests.shutdown().await;
    watching.abort();
    println!("{} logins={}", counts.summary(), server.logins());
    Ok(counts)
}

/// Once a second until Ctrl-C.
async fn against(deployment: Deployment) -> Result<Arc<Counts>, BoxError> {
    let Deployment { url, login, password, path, verify_ssl } = deployment;
    if !verify_ssl {
        eprintln!("warning: certificates are not checked; whoever sits on the way can read the password");
    }
    let base_url = BaseUrl::parse(&url)?;
    let http = HttpClient::builder().danger_accept_invalid_certs(!verify_ssl).build()?;
    let api = ArthurApi::new(base_url.clone(), http.clone());
    let login = ArthurLogin::new(UserLogin::new(api.clone()), Credentials::new(login, password));
    let refresher = AuthRefresher::new(login);

    let organization = GetCurrentOrg::new(api).oneshot(refresher.token().await?).await?;
    println!("organization: {}", organization.as_deref().unwrap_or("none"));

    let client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(http);
    let counts = Arc::new(Counts::default());
    let timeline = Timeline::start(counts.clone());
    let watched = refresher.subscribe();
    timeline.tell("a token is in use", &refresher.status());
    let watching = tokio::spawn(timeline.clone().watch(watched));
    let mut requests = JoinSet::new();
    requests.spawn(send_without_end(client, format!("{base_url}{path}"), Duration::from_secs(1), counts.clone()));
    let every_minute = async {
        loop {
            sleep(Duration::from_secs(60)).await;
            timeline.tell("requests go on", &refresher.status());
        }
    };
    tokio::select! {
        () = every_minute => {}
        stopped = tokio::signal::ctrl_c() => stopped?,
    }
    requests.shutdown().await;
    watching.abort();
    println!("{} logins={}", counts.summary(), refresher.status().generation);
    Ok(counts)
}

async fn send_without_end<S, B>(mut client: S, url: String, pause: Duration, counts: Arc<Counts>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    loop {
        let outcome = send(&mut client, &url).await;
        counts.requests.fetch_add(1, Relaxed);
        if let Err(error) = outcome {
            counts.failed.fetch_add(1, Relaxed);
            println!("          FAILED: {}", with_causes(&*error));
            // Whatever went wrong, it need not fill the screen.
            sleep(Duration::from_millis(100)).await;
        }
        sleep(pause).await;
    }
}

async fn send<S, B>(client: &mut S, url: &str) -> Result<(), BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let request = Request::get(url).body(Full::default())?;
    let response = client.ready().await.map_err(Into::into)?.call(request).await.map_err(Into::into)?;
    let status = response.status();
    // Read to its end, so that the connection can be used again.
    response.into_body().collect().await.map_err(Into::into)?;
    if status.is_success() { Ok(()) } else { Err(status.to_string().into()) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
