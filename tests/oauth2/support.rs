//! A scripted authorization server, a refresh token store, and helpers.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, sync::Mutex};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, LoginError, LoginReason, LoginRequest,
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Error, OAuth2Login, RefreshToken,
        RefreshTokenStore, StoreFuture,
    },
    transport::{HttpService, TransportError},
};

pub(crate) const ENDPOINT: &str = "https://as.example/token";

pub(crate) const GRANTED: &str =
    r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600}"#;

/// A request that a server has received. A parameter that is sent twice has two values.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) form: BTreeMap<String, Vec<String>>,
}

impl RecordedRequest {
    pub(crate) fn parameter(&self, name: &str) -> &str {
        match self.form.get(name).map(Vec::as_slice) {
            Some([value]) => value,
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A scripted server, and the requests that it has received.
#[derive(Clone, Default)]
pub(crate) struct MockServer {
    pub(crate) requests: Arc<Mutex<Vec<RecordedRequest>>>,
}

pub(crate) type MockResponse = Response<String>;

pub(crate) fn response(status: u16, body: impl Into<String>) -> MockResponse {
    Response::builder().status(status).body(body.into()).unwrap()
}

impl MockServer {
    pub(crate) fn service<F>(&self, respond: F) -> impl HttpService + use<F>
    where
        F: Fn(&RecordedRequest) -> MockResponse + Clone + Send + 'static,
    {
        let server = self.clone();
        service_fn(move |request: Request<Full<Bytes>>| {
            let (server, respond) = (server.clone(), respond.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let mut form = BTreeMap::<String, Vec<String>>::new();
                for (name, value) in url::form_urlencoded::parse(&body) {
                    form.entry(name.into_owned()).or_default().push(value.into_owned());
                }
                let request =
                    RecordedRequest { url: head.uri.to_string(), headers: head.headers, form };
                server.requests.lock().unwrap().push(request.clone());
                Ok::<_, Infallible>(respond(&request).map(Full::<Bytes>::from))
            }
        })
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn last_request(&self) -> RecordedRequest {
        self.requests().pop().unwrap()
    }
}

pub(crate) fn authorization_server() -> AuthorizationServer {
    AuthorizationServer::token_endpoint(ENDPOINT).unwrap()
}

pub(crate) fn basic() -> ClientAuthentication {
    ClientAuthentication::client_secret_basic("orders", "swordfish")
}

pub(crate) async fn log_in<L>(login: L) -> Result<AccessToken, LoginError>
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError>,
{
    login.oneshot(LoginRequest::new(LoginReason::First)).await
}

/// Logs in by client credentials at a server that returns this response.
pub(crate) async fn login_with_response(response: MockResponse) -> Result<AccessToken, LoginError> {
    let http = MockServer::default().service(move |_| response.clone());
    log_in(OAuth2Login::new(http, authorization_server(), basic(), Grant::client_credentials()))
        .await
}

pub(crate) fn oauth2_error(error: &LoginError) -> &OAuth2Error {
    error.cause().expect("the cause is the typed error")
}

/// Returns why there was no complete response.
#[track_caller]
pub(crate) fn transport_error(error: &LoginError) -> &TransportError {
    let error = oauth2_error(error);
    error.transport_error().unwrap_or_else(|| panic!("not an error of the transport: {error}"))
}

pub(crate) fn claims(jwt: &str) -> (Value, Value) {
    let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

/// A server that rotates refresh tokens: a token that is used twice revokes them all.
pub(crate) fn rotating_server(server: &MockServer) -> impl HttpService + use<> {
    let newest = Arc::new(Mutex::new(Some(0)));
    server.service(move |request| {
        let mut newest = newest.lock().unwrap();
        let shown = request
            .parameter("refresh_token")
            .strip_prefix('r')
            .and_then(|n| n.parse::<u32>().ok());
        *newest = newest.filter(|newest| shown == Some(*newest)).map(|newest| newest + 1);
        match *newest {
            Some(n) => response(
                200,
                format!(r#"{{"access_token":"a{n}","expires_in":3600,"refresh_token":"r{n}"}}"#),
            ),
            None => response(400, r#"{"error":"invalid_grant"}"#),
        }
    })
}

/// A store that processes share. It can fail.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) token: Arc<Mutex<Option<RefreshToken>>>,
    pub(crate) works: Arc<Mutex<bool>>,
    /// Reports a save without saving.
    pub(crate) forgets: bool,
}

impl Store {
    pub(crate) fn with(token: &str) -> Self {
        let token = Arc::new(Mutex::new(Some(RefreshToken::new(token))));
        Self { token, works: Arc::new(Mutex::new(true)), forgets: false }
    }

    pub(crate) fn put(&self, token: &str) {
        *self.token.lock().unwrap() = Some(RefreshToken::new(token));
    }

    pub(crate) fn has(&self) -> String {
        self.token.lock().unwrap().as_ref().unwrap().secret().to_owned()
    }
}

impl RefreshTokenStore for Store {
    fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
        Box::pin(async { Ok(self.token.lock().unwrap().clone()) })
    }

    fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
        Box::pin(async {
            if !*self.works.lock().unwrap() {
                return Err("the disk is full".into());
            }
            if !self.forgets {
                *self.token.lock().unwrap() = Some(token);
            }
            Ok(())
        })
    }
}

pub(crate) fn rotating_login(
    server: &MockServer,
    store: &Store,
) -> impl Service<LoginRequest, Response = AccessToken, Error = LoginError> + use<> {
    OAuth2Login::new(
        rotating_server(server),
        authorization_server(),
        basic(),
        Grant::refresh_token_store(store.clone()),
    )
}

pub(crate) async fn log_in_again<L>(login: &mut L) -> Result<AccessToken, LoginError>
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError>,
{
    login.ready().await?.call(LoginRequest::new(LoginReason::Expiring)).await
}
