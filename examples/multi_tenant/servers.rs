//! An issuer with one client for each tenant, and an upstream that verifies whose token a request has.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::{net::TcpListener, time::sleep};

/// The duration of a login.
const LOGIN: Duration = Duration::from_millis(50);

/// The issuer and the upstream share the tokens. Clones share them too.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    lifetime: Duration,
    issued: Arc<Mutex<Issued>>,
}

#[derive(Debug, Default)]
pub(crate) struct Issued {
    /// The secret of each tenant.
    pub(crate) secrets: HashMap<String, String>,
    /// The tenant of each valid token.
    tenants: HashMap<String, String>,
    /// When each tenant got its last token.
    last_logins: HashMap<String, Instant>,
    pub(crate) logins: u64,
    logins_under_way: usize,
    pub(crate) most_logins_at_once: usize,
    /// The number of requests for one tenant with the token of another.
    pub(crate) mixed_up: u64,
}

impl Servers {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, issued: Arc::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves on the loopback until the runtime shuts down. Returns the URL.
    pub(crate) async fn serve(&self) -> io::Result<String> {
        let router = Router::new()
            .route("/token", post(token))
            .route("/tenants/{tenant}/orders", get(orders))
            .with_state(self.clone());
        serve(router).await
    }
}

impl Issued {
    /// Revokes the tokens of a tenant, if the last one has at least this age. Returns whether it did.
    pub(crate) fn revoke(&mut self, tenant: &str, min_age: Duration) -> bool {
        let is_old = self.last_login(tenant).is_some_and(|at| at.elapsed() >= min_age);
        if is_old {
            self.tenants.retain(|_, owner| owner != tenant);
        }
        is_old
    }

    /// Returns whether a tenant has a valid token.
    pub(crate) fn has_token(&self, tenant: &str) -> bool {
        self.tenants.values().any(|owner| owner == tenant)
    }

    /// Returns when a tenant got its last token.
    pub(crate) fn last_login(&self, tenant: &str) -> Option<Instant> {
        self.last_logins.get(tenant).copied()
    }
}

/// Serves on the loopback until the runtime shuts down. Returns the URL.
pub(crate) async fn serve(router: Router) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(url)
}

/// Handles a token request with client credentials (RFC 6749, section 4.4). The client is the tenant.
async fn token(State(servers): State<Servers>, headers: HeaderMap) -> Response {
    {
        let mut issued = servers.lock();
        issued.logins_under_way += 1;
        issued.most_logins_at_once = issued.most_logins_at_once.max(issued.logins_under_way);
    }
    sleep(LOGIN).await;
    let mut issued = servers.lock();
    issued.logins_under_way -= 1;
    let Some((tenant, _)) = basic(&headers)
        .filter(|(tenant, secret)| issued.secrets.get(tenant).is_some_and(|own| own == secret))
    else {
        return (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}).to_string())
            .into_response();
    };
    issued.logins += 1;
    let token = format!("{tenant}-token-{}", issued.logins);
    issued.last_logins.insert(tenant.clone(), Instant::now());
    issued.tenants.insert(token.clone(), tenant);
    let lifetime = servers.lifetime.as_secs();
    json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime})
        .to_string()
        .into_response()
}

/// Returns the user and the password of a request (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Returns the name of the tenant, if the token belongs to it. Tokens never expire here, so that no run depends on the
/// speed of the machine.
async fn orders(
    State(servers): State<Servers>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    let mut issued = servers.lock();
    let token =
        headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    match token.and_then(|token| issued.tenants.get(token)) {
        Some(owner) if *owner == tenant => Ok(tenant),
        Some(_) => {
            issued.mixed_up += 1;
            Err(StatusCode::FORBIDDEN)
        }
        None => Err(StatusCode::UNAUTHORIZED),
    }
}
