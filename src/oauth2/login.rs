//! [`OAuth2Login`]: the login service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use tokio::sync::Mutex;
use tower_service::Service;
use zeroize::Zeroizing;

use super::{
    AuthorizationServer, Client, Grant, InvalidKey, OAuth2Error, RefreshTokenStore, SignedJwt,
    answer::{self, Granted},
    assertion,
    client::Method,
    discovery::{self, Found},
    error::Kind,
    form::Form,
    grant,
    rotation::{InTime, Rotation},
    server,
};
use crate::{
    AccessToken, BoxError, Clock, LoginError, LoginRequest,
    exchange::{AGENT, Exchange, HttpService, JSON, ResponseFuture},
};

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A login service that asks an OAuth 2 authorization server for tokens; see the [module](super).
///
/// # Errors
///
/// A [`LoginError`] whose source is the [`OAuth2Error`], [permanent](OAuth2Error::is_permanent) or transient, with the
/// server's `Retry-After`.
///
/// # Cancellation
///
/// Dropping a login gives it up; but the grant of a refresh token, once sent, is heard to its end in a task of its own,
/// since the answer may be the only copy of the next one. The next login waits for that.
///
/// Clones are one login: they share the refresh token and what has been discovered.
#[derive(Clone)]
pub struct OAuth2Login<S> {
    exchange: Exchange<S>,
    server: AuthorizationServer,
    client: Client,
    state: Arc<Mutex<State>>,
}

/// What changes from login to login.
struct State {
    grant: Grant,
    found: Option<Found>,
    rotation: Rotation,
}

impl<S> OAuth2Login<S> {
    /// Logs in at `server` as `client`, by `grant`.
    pub fn new(http: S, server: AuthorizationServer, client: Client, grant: Grant) -> Self {
        let state = State { grant, found: None, rotation: Rotation::default() };
        Self { exchange: Exchange::new(http), server, client, state: Arc::new(Mutex::new(state)) }
    }

    /// How long one exchange, or one access to the store of a refresh token, may take as a whole: to wait for the HTTP service, to connect, to send, and to read the answer
    /// to its end. 30 seconds unless said; make it shorter than the refresher's
    /// [`login_timeout`](crate::AuthRefresherBuilder::login_timeout), so that what a slow answer said is heard.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.exchange.timeout = limit;
        self
    }

    /// How many bytes the body of an answer may have; 1 MiB unless said.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.exchange.body_limit = bytes;
        self
    }

    /// The local wall clock, for assertions, and for answers that do not tell the server's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.exchange.clock = Arc::new(clock);
        self
    }
}

impl<S: HttpService> Service<LoginRequest> for OAuth2Login<S> {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = ResponseFuture<AccessToken, LoginError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        let mut asking =
            Asking { exchange: self.exchange.clone(), server: self.server.clone(), client: self.client.clone() };
        let state = self.state.clone();
        ResponseFuture::new(async move {
            let mut state = state.lock_owned().await;
            let store = match &state.grant.kind {
                grant::Kind::RefreshToken(store) => store.clone(),
                _ => return Ok(asking.log_in(&mut state, request).await?),
            };
            let refreshing = tokio::spawn(async move { asking.refresh(&mut state, &*store).await });
            let interrupted = |_| OAuth2Error::new("the grant", Kind::Interrupted);
            Ok(refreshing.await.map_err(interrupted)??)
        })
    }
}

/// One login.
struct Asking<S> {
    exchange: Exchange<S>,
    server: AuthorizationServer,
    client: Client,
}

impl<S: HttpService> Asking<S> {
    async fn log_in(&mut self, state: &mut State, request: LoginRequest) -> Result<AccessToken, OAuth2Error> {
        let State { grant, found, .. } = state;
        let grant_type = grant.kind.grant_type();
        let (name, assertion) = match &mut grant.kind {
            grant::Kind::TokenExchange(subject) => ("subject_token", Some(subject.login(request).await)),
            grant::Kind::JwtBearer(assertion) => ("assertion", Some(assertion.login(request).await)),
            _ => ("", None),
        };
        let assertion = assertion.transpose().map_err(|error| OAuth2Error::new(grant_type, Kind::Assertion(error)))?;
        let shown = assertion.as_ref().map(|token| (name, token.secret()));
        Ok(self.ask(grant_type, &grant.parameters, found, shown).await?.token)
    }

    async fn refresh(&mut self, state: &mut State, store: &dyn RefreshTokenStore) -> Result<AccessToken, OAuth2Error> {
        let store = &InTime { store, limit: self.exchange.timeout };
        let State { grant, found, rotation } = state;
        let (grant_type, parameters) = (grant.kind.grant_type(), &*grant.parameters);
        let failed = |kind| OAuth2Error::new(grant_type, kind);
        rotation.save(store).await.map_err(failed)?;
        let mut token = rotation.load(store).await.map_err(failed)?;
        let granted = match self.ask(grant_type, parameters, found, Some(("refresh_token", token.secret()))).await {
            Err(error) if error.is_invalid_grant() => {
                // Another process may have been quicker.
                let newer = rotation.load(store).await.map_err(failed)?;
                if newer == token {
                    return Err(error);
                }
                token = newer;
                self.ask(grant_type, parameters, found, Some(("refresh_token", token.secret()))).await?
            }
            granted => granted?,
        };
        if let Some(next) = granted.refresh_token.filter(|next| *next != token) {
            rotation.rotate(next);
            rotation.save(store).await.map_err(failed)?;
        }
        Ok(granted.token)
    }

    /// Asks for a token, with what there is to show for it.
    async fn ask(
        &mut self,
        grant_type: &str,
        parameters: &[(String, Zeroizing<String>)],
        found: &mut Option<Found>,
        shown: Option<(&str, &str)>,
    ) -> Result<Granted, OAuth2Error> {
        let Found { endpoint, audience } = match found {
            Some(found) => found.clone(),
            None => found.insert(discovery::find(&self.server, self.exchange.clone()).await?).clone(),
        };
        let asked = format!("POST {}{}", server::origin(&endpoint), endpoint.path());
        let mut form = Form::new(grant_type);
        for (name, value) in parameters {
            form.push(name, value);
        }
        if let Some((name, value)) = shown {
            form.push(name, value);
        }
        let authorization = self.client.authenticate(&mut form);
        if matches!(self.client.method, Method::Basic(_)) && authorization.is_none() {
            return Err(OAuth2Error::new(asked, Kind::Secret));
        }
        if let Method::Assertion(key) = &self.client.method {
            let (id, audience) = (&self.client.id, self.client.assertion_audience.as_ref().unwrap_or(&audience));
            let jwt = SignedJwt::new(key.clone(), id, id, audience).lifetime(assertion::LIFETIME);
            let Some(jwt) = jwt.on(self.exchange.clock.clone()).sign() else {
                return Err(OAuth2Error::new(asked, Kind::Signing(InvalidKey::did_not_sign())));
            };
            form.push("client_assertion_type", JWT_BEARER);
            form.push("client_assertion", &jwt);
        }
        let secrets: Vec<&str> = parameters
            .iter()
            .filter(|(name, _)| name == "password")
            .map(|(_, value)| &***value)
            .chain(self.client.secret())
            .chain(shown.map(|(_, value)| value))
            .collect();
        let request = request(endpoint, authorization, form.encode());
        let received = self.exchange.clone().send(request, &secrets).await.map_err(Kind::Broken);
        let granted = received.and_then(|received| answer::read(received, &secrets));
        granted.map_err(|kind| OAuth2Error::new(asked, kind)).inspect_err(|error| {
            if error.is_lost() {
                *found = None;
            }
        })
    }
}

fn request(endpoint: Uri, authorization: Option<HeaderValue>, body: Bytes) -> Result<Request<Full<Bytes>>, BoxError> {
    let mut request = Request::post(endpoint)
        .header(ACCEPT, JSON)
        .header(CONTENT_TYPE, FORM)
        .header(USER_AGENT, AGENT)
        .body(Full::new(body))?;
    request.headers_mut().extend(authorization.map(|value| (AUTHORIZATION, value)));
    Ok(request)
}

impl<S> fmt::Debug for OAuth2Login<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Login")
            .field("server", &self.server)
            .field("client", &self.client)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
