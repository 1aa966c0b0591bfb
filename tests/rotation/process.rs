//! One process of the fleet: this test binary, started again. It sends requests to the API, and refreshes the token.
//!
//! It reports each event with a line on standard error, because the test harness writes to standard output. After `sending`
//! and `received`, it waits for a line on its standard input.

use std::{
    env,
    io::{self, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use tokio::{task::spawn_blocking, time::sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, LoginError, LoginRequest, ReplayClone,
    http_client::HttpClient,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
    shared::{
        FileTokenStore, SealingKey, SealingKeys, SharedRefreshTokenStore, SharedTokenLayer,
        TokenIdentity, TokenStore,
    },
    transport::{HttpService, TransportConfig},
};

const ISSUER: &str = "ROTATION_ISSUER";
/// The URL of a Redis server, or a directory.
const STORE: &str = "ROTATION_STORE";
const RESEND: &str = "ROTATION_RESEND";

/// For how long a process that was killed blocks the others.
const TIME_TO_LIVE: Duration = Duration::from_secs(1);
/// Only against hanging.
const LIMIT: Duration = Duration::from_secs(60);
const BETWEEN_REQUESTS: Duration = Duration::from_millis(50);
/// The longest time between two refreshes of a process.
const MAX_BETWEEN_REFRESHES: Duration = Duration::from_millis(100);
/// Short, because it also is the shortest time between two logins of a process.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// What a session with its store has in common in all processes.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) store: String,
    pub(crate) resend_interrupted: bool,
}

impl Settings {
    pub(crate) fn spawn(&self) -> Child {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["process::run_process", "--exact", "--nocapture"])
            .env(ISSUER, &self.issuer)
            .env(STORE, &self.store)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if self.resend_interrupted {
            command.env(RESEND, "");
        }
        command.spawn().unwrap()
    }

    fn of_this_process() -> Option<Self> {
        let (issuer, store) = (env::var(ISSUER).ok()?, env::var(STORE).ok()?);
        Some(Self { issuer, store, resend_interrupted: env::var_os(RESEND).is_some() })
    }

    fn token_store(&self) -> Arc<dyn TokenStore> {
        #[cfg(feature = "shared-redis")]
        if self.store.starts_with("redis://") {
            return Arc::new(
                tower_auth_refresh::shared::RedisTokenStore::open(&*self.store).unwrap(),
            );
        }
        Arc::new(FileTokenStore::new(&self.store).timeout(LIMIT))
    }

    fn identity(&self) -> TokenIdentity {
        TokenIdentity::new(&self.issuer, "refreshing", "refresh_token").parameter("user", "alice")
    }

    pub(crate) fn refresh_token_store(&self) -> SharedRefreshTokenStore {
        SharedRefreshTokenStore::new(self.token_store(), self.identity(), keys())
            .lock_time_to_live(TIME_TO_LIVE)
            .resend_interrupted(self.resend_interrupted)
    }

    fn refresher(&self, http: HttpClient) -> AuthRefresher {
        let login = OAuth2Login::new(
            gated(http),
            AuthorizationServer::discover(&self.issuer).unwrap(),
            ClientAuthentication::client_secret_basic("refreshing", "refreshing-secret"),
            Grant::refresh_token_store(self.refresh_token_store()),
        )
        .transport_config(TransportConfig::new().timeout(LIMIT));
        let reporting = ServiceBuilder::new()
            .map_request(|request: LoginRequest| {
                report("login");
                request
            })
            .then(|login: Result<AccessToken, LoginError>| async {
                report("done");
                if let Err(error) = &login {
                    report(&format!("login failed: {}", with_causes(error)));
                }
                login
            })
            .service(login);
        let shared = SharedTokenLayer::new(self.token_store(), self.identity(), keys())
            .claim_time_to_live(TIME_TO_LIVE)
            .login_timeout(LIMIT);
        AuthRefresher::builder(shared.layer(reporting))
            .login_timeout(2 * LIMIT)
            .wait_timeout(LIMIT)
            .backoff(MIN_BACKOFF, MAX_BACKOFF)
            .build()
            .unwrap()
    }
}

fn keys() -> SealingKeys {
    SealingKeys::new(SealingKey::new([7; 32]))
}

/// Does nothing in the test run itself.
#[test]
fn run_process() {
    let Some(settings) = Settings::of_this_process() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let http = HttpClient::builder().build().unwrap();
        let refresher = settings.refresher(http.clone());
        let refreshing = refresher.clone();
        tokio::spawn(async move {
            loop {
                sleep(MAX_BETWEEN_REFRESHES.mul_f64(fastrand::f64())).await;
                // The login reports its error.
                let _ = refreshing.refresh().await;
            }
        });
        let layer = AuthRefreshLayer::new(refresher).replay(ReplayClone);
        let api = layer.layer(http);
        loop {
            let url = format!("{}/test/introspect", settings.issuer);
            let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
            match api.clone().oneshot(request).await {
                Ok(response) if response.status() == StatusCode::OK => report("accepted"),
                Ok(response) => report(&format!("rejected {}", response.status())),
                Err(error) => report(&format!("request failed: {}", with_causes(&error))),
            }
            sleep(BETWEEN_REQUESTS).await;
        }
    });
}

/// Waits for the parent process before a token request, and after its response.
fn gated(http: HttpClient) -> impl HttpService {
    service_fn(move |request: Request<Full<Bytes>>| {
        let http = http.clone();
        async move {
            let is_token_request = request.method() == Method::POST;
            if is_token_request {
                gate("sending").await;
            }
            let response = http.oneshot(request).await;
            if is_token_request {
                gate("received").await;
            }
            response
        }
    })
}

async fn gate(step: &'static str) {
    report(step);
    let read = spawn_blocking(|| io::stdin().read_line(&mut String::new()).unwrap()).await.unwrap();
    if read == 0 {
        // The parent process has ended.
        std::process::exit(1);
    }
}

/// Writes a line as a whole, so that a kill cannot truncate it.
fn report(line: &str) {
    io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
