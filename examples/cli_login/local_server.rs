//! A local authorization server with both logins, and a person who approves each of them.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use examples::issuer::Issuer;
use http::{HeaderValue, Request, Response, StatusCode, header::LOCATION};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tower::{BoxError, ServiceExt};
use tower_auth_refresh::http_client::HttpClient;
use url::{Url, form_urlencoded};

type Form = HashMap<String, String>;

/// The server. Its codes are numbers, which is safe only because the server is an example.
struct Server {
    url: String,
    issuer: Issuer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    count: u32,
    /// The code challenge and the redirect URI of each authorization code.
    codes: HashMap<String, (String, String)>,
    /// The device codes that the person has approved.
    approved: HashSet<String>,
    /// The refresh tokens, each of which is accepted once.
    refresh_tokens: HashSet<String>,
}

/// Starts the server and returns its issuer.
pub(crate) async fn serve(issuer: Issuer) -> Result<String, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = Arc::new(Server { url: url.clone(), issuer, state: Mutex::default() });
    let service = service_fn(move |request: Request<Incoming>| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.respond(request).await) }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connection);
        }
    });
    Ok(url)
}

fn parse(form: &[u8]) -> Form {
    form_urlencoded::parse(form).into_owned().collect()
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
}

fn error(code: &str) -> Response<Full<Bytes>> {
    respond(StatusCode::BAD_REQUEST, &json!({ "error": code }))
}

impl Server {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let query = parse(request.uri().query().unwrap_or_default().as_bytes());
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.map(|body| body.to_bytes());
        let form = parse(&body.unwrap_or_default());
        match &*path {
            "/.well-known/oauth-authorization-server" => {
                let url = &self.url;
                let metadata = json!({
                    "issuer": url,
                    "authorization_endpoint": format!("{url}/authorize"),
                    "device_authorization_endpoint": format!("{url}/device"),
                    "token_endpoint": format!("{url}/token"),
                    "code_challenge_methods_supported": ["S256"],
                    "authorization_response_iss_parameter_supported": true,
                });
                respond(StatusCode::OK, &metadata)
            }
            "/authorize" => self.authorize(&query).unwrap_or_else(|| error("invalid_request")),
            "/device" => self.start_device(),
            "/activate" => {
                let code = query.get("user_code").cloned().unwrap_or_default();
                self.with_state(|state| state.approved.insert(code.replace("CODE-", "d")));
                respond(StatusCode::OK, &json!("approved"))
            }
            "/token" => self.grant(&form),
            _ => respond(StatusCode::NOT_FOUND, &Value::Null),
        }
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The page of the login. The person has approved it by opening it.
    fn authorize(&self, query: &Form) -> Option<Response<Full<Bytes>>> {
        let redirect_uri = query.get("redirect_uri")?.clone();
        let mut target = Url::parse(&redirect_uri).ok()?;
        let challenge = query.get("code_challenge")?.clone();
        let code = self.with_state(|state| {
            state.count += 1;
            let code = format!("c{}", state.count);
            state.codes.insert(code.clone(), (challenge, redirect_uri));
            code
        });
        target
            .query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", query.get("state")?)
            .append_pair("iss", &self.url);
        let mut response = respond(StatusCode::FOUND, &Value::Null);
        response.headers_mut().insert(LOCATION, HeaderValue::try_from(target.as_str()).ok()?);
        Some(response)
    }

    fn start_device(&self) -> Response<Full<Bytes>> {
        let count = self.with_state(|state| {
            state.count += 1;
            state.count
        });
        let page = format!("{}/activate", self.url);
        let response = json!({
            "device_code": format!("d{count}"),
            "user_code": format!("CODE-{count}"),
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code=CODE-{count}"),
            "expires_in": 300,
            "interval": 1,
        });
        respond(StatusCode::OK, &response)
    }

    fn grant(&self, form: &Form) -> Response<Full<Bytes>> {
        let value = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let error_code = self.with_state(|state| match value("grant_type") {
            "authorization_code" => {
                let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(value("code_verifier")));
                let expected = (verifier, value("redirect_uri").to_owned());
                let is_valid = state.codes.remove(value("code")) == Some(expected);
                (!is_valid).then_some("invalid_grant")
            }
            "urn:ietf:params:oauth:grant-type:device_code" => {
                let is_approved = state.approved.remove(value("device_code"));
                (!is_approved).then_some("authorization_pending")
            }
            "refresh_token" => {
                let is_valid = state.refresh_tokens.remove(value("refresh_token"));
                (!is_valid).then_some("invalid_grant")
            }
            _ => Some("unsupported_grant_type"),
        });
        if let Some(code) = error_code {
            return error(code);
        }
        let Ok(token) = self.issuer.issue() else { return error("server_error") };
        let refresh_token = self.with_state(|state| {
            state.count += 1;
            let token = format!("r{}", state.count);
            state.refresh_tokens.insert(token.clone());
            token
        });
        let response = json!({
            "access_token": token.secret(),
            "token_type": "Bearer",
            "expires_in": 60,
            "refresh_token": refresh_token,
        });
        respond(StatusCode::OK, &response)
    }
}

/// A person with a browser, who approves every login.
pub(crate) struct Person(HttpClient);

impl Person {
    pub(crate) fn new() -> Result<Self, BoxError> {
        Ok(Self(HttpClient::builder().build()?))
    }

    /// Opens a page, and the one that it redirects to.
    pub(crate) async fn open(&self, url: &str) {
        let mut next = Some(url.to_owned());
        while let Some(url) = next.take() {
            println!("opened: {}", url.split('?').next().unwrap_or_default());
            let Ok(request) = Request::get(url).body(Full::<Bytes>::default()) else { return };
            let Ok(response) = self.0.clone().oneshot(request).await else { return };
            let location = response.headers().get(LOCATION);
            next = location.and_then(|location| Some(location.to_str().ok()?.to_owned()));
        }
    }
}
