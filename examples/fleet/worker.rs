//! One process of the fleet.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use examples::load;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use redis::sentinel::{SentinelClient, SentinelServerType};
use serde_json::Value;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, ReplayClone, login_fn,
    shared::{
        FileTokenStore, RedisTokenStore, SealingKey, SealingKeys, SharedToken, SharedTokenLayer,
        TokenIdentity,
    },
};

use super::sentinel::PRIMARY;

/// The variables that the process gets from the one that starts it.
pub(crate) const PROCESS: &str = "FLEET_PROCESS";
pub(crate) const SERVER: &str = "FLEET_SERVER";
/// The URL of a Redis server or of a Sentinel, or a directory.
pub(crate) const STORE: &str = "FLEET_STORE";
pub(crate) const RATE: &str = "FLEET_RATE";

/// After the death of the process that logs in, another one can log in.
const CLAIM_TIME_TO_LIVE: Duration = Duration::from_secs(1);
/// The most requests at the same time.
const MAX_CONCURRENT: usize = 256;

type Http = Client<HttpConnector, Empty<Bytes>>;

/// Sends requests until it is killed, or the server does not respond.
pub(crate) async fn run() -> Result<(), BoxError> {
    let (process, server) = (env::var(PROCESS)?, env::var(SERVER)?);
    let rate: u32 = env::var(RATE)?.parse()?;
    let http = Client::builder(TokioExecutor::new()).build_http();
    let refresher = AuthRefresher::new(login(http.clone(), &server, &process)?);
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).replay(ReplayClone))
        .service(http.clone());

    let (requests, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reports = interval(Duration::from_millis(500));
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick(), if running.len() < MAX_CONCURRENT => {
                let (client, requests, failed) = (client.clone(), requests.clone(), failed.clone());
                let request = Request::get(format!("http://{server}/api")).body(Empty::new())?;
                running.spawn(async move {
                    let outcome = succeeds(client.oneshot(request).await).await;
                    requests.fetch_add(1, Relaxed);
                    if let Err(error) = outcome {
                        failed.fetch_add(1, Relaxed);
                        eprintln!("request failed: {}", load::with_causes(&*error));
                    }
                });
            }
            Some(_) = running.join_next() => {}
            _ = reports.tick() => {
                let (requests, failed) = (requests.load(Relaxed), failed.load(Relaxed));
                let url = format!("http://{server}/report/{process}/{requests}/{failed}");
                let report = Request::post(url).body(Empty::new())?;
                succeeds(http.request(report).await).await?;
            }
        }
    }
}

/// Returns a login that the process shares with the others.
fn login(http: Http, server: &str, process: &str) -> Result<SharedToken, BoxError> {
    let url = format!("http://{server}/login/{process}");
    let login = login_fn(move |_| {
        let http = http.clone();
        let sent_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let url = sent_at.map(|sent_at| format!("{url}/{}", sent_at.as_micros()));
        async move {
            let request = Request::post(url?).body(Empty::new())?;
            let body = succeeds(http.request(request).await).await?;
            let body: Value = serde_json::from_slice(&body)?;
            let secret =
                body.get("access_token").and_then(Value::as_str).ok_or("response has no token")?;
            let lifetime =
                body.get("expires_in").and_then(Value::as_u64).ok_or("response has no lifetime")?;
            Ok(AccessToken::bearer(secret)?.with_expires_in(Duration::from_secs(lifetime)))
        }
    });

    // What makes the logins of two processes the same login.
    let identity = TokenIdentity::new(format!("http://{server}"), "fleet", "client_credentials");
    // In production, from where the credentials are.
    let keys = SealingKeys::new(SealingKey::new([7; 32]));
    let store = env::var(STORE)?;
    let shared = if store.starts_with("redis://") {
        SharedTokenLayer::new(RedisTokenStore::open(store)?, identity, keys)
    } else if let Some(address) = store.strip_prefix("sentinel://") {
        SharedTokenLayer::new(sentinel_store(address)?, identity, keys)
    } else {
        SharedTokenLayer::new(FileTokenStore::new(store), identity, keys)
    };
    Ok(shared.claim_time_to_live(CLAIM_TIME_TO_LIVE).layer(login))
}

/// Returns a store in the primary that Sentinel names.
fn sentinel_store(address: &str) -> Result<RedisTokenStore, BoxError> {
    let sentinels = vec![format!("redis://{address}")];
    // Its type depends on the features of `redis`.
    let name = String::from(PRIMARY);
    let primary = SentinelClient::build(sentinels, name, None, SentinelServerType::Master)?;
    let primary = Arc::new(Mutex::new(primary));
    Ok(RedisTokenStore::connect_with(move || {
        let primary = primary.clone();
        async move { primary.lock().await.get_async_connection().await }
    }))
}

/// Returns the body of a response, if the response is a success.
async fn succeeds<E: Into<BoxError>>(
    outcome: Result<Response<Incoming>, E>,
) -> Result<Bytes, BoxError> {
    let response = outcome.map_err(Into::into)?;
    load::success(response.status())?;
    Ok(response.into_body().collect().await?.to_bytes())
}
