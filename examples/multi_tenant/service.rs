//! The service: each incoming request becomes a request to the upstream, with the token of its tenant.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, State},
    http::{Request, StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use examples::load::with_causes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefresh, AuthRefreshLayer, AuthRefresher, AuthRefreshers, Error, KeyedIdentity,
    ReplayClone, UnauthorizedAsRejection,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
};

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A client whose requests get the token of the tenant in their extensions.
type Upstream =
    AuthRefresh<HttpClient, ReplayClone, UnauthorizedAsRejection, KeyedIdentity<TenantId>>;

/// A tenant. It selects the identity at the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TenantId(pub(crate) Arc<str>);

/// What the service knows about its tenants.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    /// The tenant of each API key that a client can send.
    pub(crate) by_api_key: HashMap<String, TenantId>,
    /// The secret of each tenant at the issuer.
    pub(crate) secrets: RwLock<HashMap<TenantId, String>>,
}

impl Tenants {
    fn secret(&self, tenant: &TenantId) -> Option<String> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }
}

/// The state of the handlers.
#[derive(Clone)]
struct App {
    tenants: Arc<Tenants>,
    upstream: Upstream,
    upstream_url: Arc<str>,
}

/// Returns one refresher for each tenant. All log in at the same issuer.
pub(crate) fn refreshers(
    tenants: Arc<Tenants>,
    token_endpoint: &str,
) -> Result<AuthRefreshers<TenantId>, BoxError> {
    let server = AuthorizationServer::token_endpoint(token_endpoint)?;
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let factory = move |tenant: &TenantId| {
        let secret = tenants.secret(tenant).ok_or("tenant not known")?;
        let client = ClientAuthentication::client_secret_basic(&*tenant.0, secret);
        let grant = Grant::client_credentials();
        let login = OAuth2Login::new(http.clone(), server.clone(), client, grant);
        Ok::<_, BoxError>(AuthRefresher::builder(login))
    };
    Ok(AuthRefreshers::try_builder(factory)
        .name("orders")
        .capacity(1_000)
        .logins_at_once(8)
        .build()?)
}

/// Returns the service. `upstream_url` has a path for each tenant.
pub(crate) fn router(
    tenants: Arc<Tenants>,
    refreshers: AuthRefreshers<TenantId>,
    upstream_url: &str,
) -> Router {
    let upstream = ServiceBuilder::new()
        .layer(AuthRefreshLayer::keyed(refreshers).replay(ReplayClone))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let app = App { tenants, upstream, upstream_url: upstream_url.into() };
    Router::new().route("/orders", get(orders)).with_state(app)
}

/// The service and not the client decides whose token is used: an API key proves which tenant the client belongs to.
impl FromRequestParts<App> for TenantId {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let api_key = parts.headers.get("x-api-key").and_then(|key| key.to_str().ok());
        api_key
            .and_then(|key| app.tenants.by_api_key.get(key))
            .cloned()
            .ok_or(StatusCode::UNAUTHORIZED)
    }
}

async fn orders(State(app): State<App>, tenant: TenantId) -> Response {
    let url = format!("{}/tenants/{}/orders", app.upstream_url, tenant.0);
    let Ok(request) = Request::get(url).extension(tenant).body(Full::default()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match app.upstream.oneshot(request).await {
        Ok(response) => (response.status(), Body::new(response.into_body())).into_response(),
        Err(error) => {
            let status = match &error {
                Error::Login(error) if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
                // Too many new tenants at the same time.
                Error::Key(error) if error.is_new_key_limit_reached() => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                _ => StatusCode::BAD_GATEWAY,
            };
            eprintln!("{}", with_causes(&*BoxError::from(error)));
            status.into_response()
        }
    }
}
