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
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, Expiry, State, Status,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, GetCurrentOrg, UserLogin},
    http_client::HttpClient,
};

mod server;

const USAGE: &str = "usage: quickstart [--url URL --login LOGIN --password PASSWORD [--path PATH] [--no-verify-ssl]]";

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Deployment::from_arguments() {
        Ok(None) => against_a_server_of_its_own().await,
        Ok(Some(deployment)) => deployment.run().await,
        Err(error) => Err(error),
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

    let refresher = AuthRefresher::new(login(&base_url, true, credentials)?);
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

/// A real deployment of the Arthur API.
struct Deployment {
    url: String,
    login: String,
    password: String,
    path: String,
    verify_ssl: bool,
}

impl Deployment {
    /// `None`: none is named.
    fn from_arguments() -> Result<Option<Self>, BoxError> {
        let from_environment = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let mut url = from_environment("ARTHUR_API_URL");
        let mut login = from_environment("ARTHUR_LOGIN");
        let mut password = from_environment("ARTHUR_PASSWORD");
        let mut verify_ssl =
            !from_environment("ARTHUR_VERIFY_SSL").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let mut path = "/api/v3/users/me".to_owned();
        let mut arguments = env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match name.as_str() {
                "--url" => url = Some(value()?),
                "--login" => login = Some(value()?),
                "--password" => password = Some(value()?),
                "--path" => path = value()?,
                "--no-verify-ssl" => verify_ssl = false,
                _ => return Err(USAGE.into()),
            }
        }
        match (url, login, password) {
            (None, _, _) => Ok(None),
            (Some(url), Some(login), Some(password)) => Ok(Some(Self { url, login, password, path, verify_ssl })),
            _ => Err(USAGE.into()),
        }
    }

    async fn run(self) -> Result<Arc<Counts>, BoxError> {
        let base_url = BaseUrl::parse(&self.url)?;
        let credentials = Credentials::new(self.login, self.password);
        let refresher = AuthRefresher::new(login(&base_url, self.verify_ssl, credentials)?);
        let http = HttpClient::builder().verify_ssl(self.verify_ssl).build()?;

        let api = ArthurApi::new(base_url.clone(), http.clone());
        let organization = GetCurrentOrg::new(api).oneshot(refresher.token().await?).await?;
        println!("organization: {}", organization.as_deref().unwrap_or("none"));

        let client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(http);
        let counts = Arc::new(Counts::default());
        let watching = tokio::spawn(Timeline::start(counts.clone()).watch(refresher.subscribe()));
        let url = format!("{}{}", base_url.as_str(), self.path);
        let mut requests = JoinSet::new();
        requests.spawn(send_without_end(client, url, Duration::from_secs(1), counts.clone()));
        tokio::signal::ctrl_c().await?;
        requests.shutdown().await;
        watching.abort();
        println!("{} logins={}", counts.summary(), refresher.status().generation);
        Ok(counts)
    }
}

fn login(base_url: &BaseUrl, verify_ssl: bool, credentials: Credentials) -> Result<ArthurLogin<HttpClient>, BoxError> {
    let http = HttpClient::builder().verify_ssl(verify_ssl).build()?;
    Ok(ArthurLogin::new(UserLogin::new(ArthurApi::new(base_url.clone(), http)), credentials))
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn summary(&self) -> String {
        format!("requests={} failed={}", self.requests.load(Relaxed), self.failed.load(Relaxed))
    }
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

/// Prints what happens to the token, as it happens.
#[derive(Clone)]
struct Timeline {
    start: Instant,
    counts: Arc<Counts>,
}

impl Timeline {
    fn start(counts: Arc<Counts>) -> Self {
        println!("{:>7}  {:<44} {:>5} {:>6} {:>9}", "time", "what happened", "token", "lives", "requests");
        Self { start: Instant::now(), counts }
    }

    fn tell(&self, what: &str, status: &Status) {
        let time = self.start.elapsed().as_secs_f64();
        let token = if status.generation == 0 { "-".to_owned() } else { format!("#{}", status.generation) };
        let lives = match status.expiry {
            Some(Expiry::At(end)) => {
                let left = end.duration_since(SystemTime::now()).unwrap_or_default();
                format!("{:.1}s", left.as_secs_f64())
            }
            Some(_) => "?".to_owned(),
            None => "-".to_owned(),
        };
        println!("{time:>6.2}s  {what:<44} {token:>5} {lives:>6} {:>9}", self.counts.requests.load(Relaxed));
    }

    async fn watch(self, mut watched: watch::Receiver<Status>) {
        let mut before = watched.borrow_and_update().clone();
        while watched.changed().await.is_ok() {
            let status = watched.borrow_and_update().clone();
            if status.generation > before.generation {
                self.tell("a new token is in use", &status);
            } else if status.failures > before.failures {
                self.tell("the login failed; it will be tried again", &status);
            } else if status.state != before.state {
                match status.state {
                    State::LoggingIn => self.tell("logging in; requests wait for the token", &status),
                    State::Refreshing => self.tell("logging in; requests go on", &status),
                    State::Failing => self.tell("the token has ended", &status),
                    _ => {}
                }
            }
            before = status;
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
