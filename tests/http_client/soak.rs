//! Short-lived tokens for a minute, while connections of logins die.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, ReplayClone,
    http_client::HttpClient,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
    transport::TransportConfig,
};

use crate::{relay::Relay, support::*};

const DURATION: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(3);
const BETWEEN_BLACK_HOLES: Duration = Duration::from_secs(10);
const CALLERS: usize = 8;
const BETWEEN_REQUESTS: Duration = Duration::from_millis(10);
/// A login on a dead connection and the next one fit into the lead, which is a quarter of the lifetime.
const LOGIN_TIMEOUT: Duration = Duration::from_millis(400);
const BACKOFF: Duration = Duration::from_millis(20);
/// A guard against a request that hangs.
const GUARD: Duration = Duration::from_secs(30);

/// Issues tokens, and rejects those that have expired.
#[derive(Default)]
struct Issuer {
    issued: Mutex<Vec<Instant>>,
    rejected: AtomicUsize,
}

impl Issuer {
    fn respond(&self, request: &Seen) -> Response<Body> {
        if request.path == "/token" {
            let mut issued = self.issued.lock().unwrap();
            issued.push(Instant::now());
            let token = format!(
                r#"{{"access_token":"{}","expires_in":{}}}"#,
                issued.len(),
                LIFETIME.as_secs()
            );
            return Response::new(full(token));
        }
        let token = request
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let number: Option<usize> = token.and_then(|token| token.parse().ok());
        let issued_at =
            number.and_then(|number| self.issued.lock().unwrap().get(number - 1).copied());
        if issued_at.is_some_and(|issued_at| issued_at.elapsed() < LIFETIME) {
            return status(200, "");
        }
        self.rejected.fetch_add(1, SeqCst);
        status(401, "")
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for a minute: cargo test --all-features --test http_client soak -- --ignored --nocapture"]
async fn dying_login_connections_fail_no_request() {
    let (certificate, acceptor) = self_signed("localhost");
    let issuer = Arc::new(Issuer::default());
    let responding = issuer.clone();
    let server = Script::start_tls(acceptor, move |request| responding.respond(request)).await;
    let relay = Relay::start(server.addr).await;

    let http = HttpClient::builder().add_root_certificate(certificate).build().unwrap();
    let endpoint = AuthorizationServer::token_endpoint(&format!("{}/token", relay.url())).unwrap();
    let client = ClientAuthentication::client_secret_basic("soak", "s3cr3t");
    let login = OAuth2Login::new(http.clone(), endpoint, client, Grant::client_credentials())
        .transport_config(TransportConfig::new().timeout(LOGIN_TIMEOUT));
    let refresher = AuthRefresher::builder(login).backoff(BACKOFF, BACKOFF).build().unwrap();
    let layer = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone);
    let client = ServiceBuilder::new().layer(layer).service(http);

    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, url) = (client.clone(), server.url());
        callers.spawn(async move {
            let (mut succeeded, mut failures) = (0, Vec::new());
            let mut ticks = interval(BETWEEN_REQUESTS);
            while started.elapsed() < DURATION {
                ticks.tick().await;
                let request = Request::get(&url).body(Full::<Bytes>::default()).unwrap();
                let call = async {
                    let response = client.clone().oneshot(request).await?;
                    let status = response.status();
                    response.into_body().collect().await?;
                    Ok::<StatusCode, BoxError>(status)
                };
                match timeout(GUARD, call).await {
                    Ok(Ok(StatusCode::OK)) => succeeded += 1,
                    other => failures.push(format!("after {:?}: {other:?}", started.elapsed())),
                }
            }
            (succeeded, failures)
        });
    }
    let mut black_holes = 0;
    while started.elapsed() + BETWEEN_BLACK_HOLES <= DURATION {
        sleep(BETWEEN_BLACK_HOLES / 2).await;
        // The connection of the login under way, if there is one, and that of the next.
        relay.kill(1);
        black_holes += 1;
        sleep(BETWEEN_BLACK_HOLES / 2).await;
    }
    let (mut succeeded, mut failures) = (0, Vec::new());
    for (s, f) in callers.join_all().await {
        succeeded += s;
        failures.extend(f);
    }
    let (logins, connections) = (issuer.issued.lock().unwrap().len(), relay.connections());
    println!(
        "{succeeded} requests succeeded, {} failed; {} responses were 401; {logins} logins succeeded on {connections} \
         connections, of which {black_holes} died",
        failures.len(),
        issuer.rejected.load(SeqCst),
    );
    assert!(
        failures.is_empty(),
        "{} failures, such as {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(server.seen().iter().all(|request| request.version == Version::HTTP_2));
    // Each of them costs a login its connection, and no login shares one.
    assert!(connections >= logins + black_holes, "{logins} logins, {connections} connections");
    assert!(logins >= 20, "{logins}");
}
