//! Logins at an OAuth 2 authorization server: 4 seconds with client credentials, and 4 with a refresh token that rotates.
//! The access tokens live for 2 seconds:
//!
//! ```sh
//! cargo run -p examples --features oauth2 --example oauth2_login
//! ```
//!
//! The client discovers the server by its metadata. The server accepts each refresh token once, and revokes all access
//! tokens once.

use std::{
    collections::HashMap,
    convert::Infallible,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use examples::{
    echo,
    issuer::Issuer,
    load::{self, Report},
};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, ReplayClone,
    http_client::HttpClient,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken},
};

#[tokio::main]
async fn main() -> ExitCode {
    load::exit_code(run(Duration::from_secs(8)).await.map(|(report, rotations)| {
        println!("rotations={rotations}");
        (report, rotations > 1)
    }))
}

/// Sends requests for `duration`. Returns the number of rotations of the refresh token too.
pub async fn run(duration: Duration) -> Result<(Report, u32), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let api = format!("http://{}/", echo::serve(issuer.clone()).await?);
    let rotation = Arc::new(Mutex::new(0));
    let server = AuthorizationServer::discover(&serve(issuer.clone(), rotation.clone()).await?)?;
    let client = ClientAuthentication::client_secret_basic("orders", "swordfish");
    let http = HttpClient::builder().build()?;

    let mut total = Report::default();
    for grant in [
        Grant::client_credentials().scope("invoices:read"),
        Grant::refresh_token(RefreshToken::new("r0")),
    ] {
        println!("{grant:?}");
        let login = OAuth2Login::new(http.clone(), server.clone(), client.clone(), grant);
        let layer = AuthRefreshLayer::new(AuthRefresher::new(login)).replay(ReplayClone);
        let mut client = ServiceBuilder::new().layer(layer).service(http.clone());
        let request = async || {
            let request = Request::get(&api).body(Full::default())?;
            let response = client.ready().await?.call(request).await?;
            let status = response.status();
            response.into_body().collect().await?;
            load::success(status)
        };
        let Report { requests, failed, logins } =
            load::run(duration / 2, || issuer.count(), || issuer.revoke(), request).await;
        total =
            Report { requests: total.requests + requests, failed: total.failed + failed, logins };
    }
    let rotations = *rotation.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((total, rotations))
}

/// Starts an authorization server and returns its URL. `rotation` is the number of the refresh token that it accepts.
async fn serve(issuer: Issuer, rotation: Arc<Mutex<u32>>) -> Result<String, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let metadata = json!({"issuer": url, "token_endpoint": format!("{url}/token")});
    let service = service_fn(move |request: Request<Incoming>| {
        let (issuer, rotation, metadata) = (issuer.clone(), rotation.clone(), metadata.clone());
        async move {
            let (status, json) = match request.uri().path() {
                "/.well-known/oauth-authorization-server" => (StatusCode::OK, metadata),
                "/token" => grant(request, &issuer, &rotation).await,
                _ => (StatusCode::NOT_FOUND, Value::Null),
            };
            let mut response = Response::new(Full::<Bytes>::from(json.to_string()));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()),
            );
        }
    });
    Ok(url)
}

/// Handles a token request (RFC 6749, sections 4.4 and 6).
async fn grant(
    request: Request<Incoming>,
    issuer: &Issuer,
    rotation: &Mutex<u32>,
) -> (StatusCode, Value) {
    // The base64 of `orders:swordfish`.
    if request
        .headers()
        .get(AUTHORIZATION)
        .is_none_or(|header| header != "Basic b3JkZXJzOnN3b3JkZmlzaA==")
    {
        return (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}));
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let form: HashMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
    let mut rotation = rotation.lock().unwrap_or_else(PoisonError::into_inner);
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        Some("refresh_token") if form.get("refresh_token") == Some(&format!("r{rotation}")) => {
            *rotation += 1
        }
        _ => return (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"})),
    }
    match issuer.issue() {
        Ok(token) => {
            let mut response = serde_json::Map::new();
            response.insert("access_token".into(), token.secret().into());
            response.insert("token_type".into(), "Bearer".into());
            response.insert("expires_in".into(), 2.into());
            if form.contains_key("refresh_token") {
                response.insert("refresh_token".into(), format!("r{rotation}").into());
            }
            (StatusCode::OK, response.into())
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Value::Null),
    }
}
