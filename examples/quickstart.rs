//! Continuous requests through refreshes and an outage of the login. None of them fails.
//!
//! ```sh
//! cargo run -p examples --example quickstart
//! ```
//!
//! It starts a local server whose tokens live for 6 seconds.

use std::{
    convert::Infallible,
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use examples::{
    arthur_server::{Config, Server},
    load,
    timeline::{Counts, Timeline},
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, UserLogin},
};

const RUN_TIME: Duration = Duration::from_secs(20);
const OUTAGE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(counts) if counts.failed.load(Relaxed) == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", load::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<Arc<Counts>, BoxError> {
    let config = Config { ttl: Duration::from_secs(6), ..Config::default() };
    let credentials = Credentials::new(&config.login, &config.password);
    let server = Server::start(config)?;

    // One identity: how to log in.
    let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let api = ArthurApi::new(BaseUrl::parse(&server.base_url())?, hyper.clone());
    let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), credentials));

    // Any number of clients: where the token goes.
    let client =
        ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(hyper);

    println!(
        "The tokens live for 6 seconds. The layer counts 5, because the server's `Date` header has whole seconds."
    );
    let counts = Arc::new(Counts::default());
    let timeline = Timeline::start(counts.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(timeline.clone().follow(refresher.subscribe()));
    for _ in 0..4 {
        let url = format!("{}/api/v3/echo", server.base_url());
        let (client, counts) = (client.clone(), counts.clone());
        tasks.spawn(async move { match send_forever(client, &url, &counts).await {} });
    }

    let start = Instant::now();
    let second_token = async {
        let mut statuses = refresher.subscribe();
        statuses.wait_for(|status| status.generation == 2).await
    };
    timeout(Duration::from_secs(15), second_token).await??;
    // Two seconds into the life of the second token, so that its refresh meets the outage.
    sleep(Duration::from_secs(2)).await;
    server.outage(OUTAGE);
    timeline.log("login unavailable for 2 seconds", &refresher.status());
    sleep(RUN_TIME.saturating_sub(start.elapsed())).await;
    tasks.shutdown().await;
    println!("{} logins={}", counts.summary(), server.logins());
    Ok(counts)
}

async fn send_forever<S>(mut client: S, url: &str, counts: &Counts) -> Infallible
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error: Into<BoxError>>,
{
    loop {
        let result = send(&mut client, url).await;
        counts.requests.fetch_add(1, Relaxed);
        if let Err(error) = result {
            counts.failed.fetch_add(1, Relaxed);
            println!("          request failed: {}", load::with_causes(&*error));
            // Limits the lines of output.
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn send<S>(client: &mut S, url: &str) -> Result<(), BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error: Into<BoxError>>,
{
    let request = Request::get(url).body(Full::default())?;
    let response =
        client.ready().await.map_err(Into::into)?.call(request).await.map_err(Into::into)?;
    let status = response.status();
    // hyper reuses a connection only after the body was read to its end.
    response.into_body().collect().await?;
    load::success(status)
}
