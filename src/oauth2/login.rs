//! [`OAuth2Login`]: the login service.

use std::{
    fmt,
    panic::resume_unwind,
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
    AuthorizationServer, ClientAuthentication, Grant, OAuth2Error, RefreshToken, RefreshTokenStore,
    discovery::{Discovery, Endpoints},
    error::Kind,
    form::Form,
    grant,
    rotation::{Rotation, TimedStore},
    server,
    token_response::{self, TokenResponse},
};
use crate::{
    AccessToken, BoxError, Clock, LoginError, LoginRequest,
    login::current::spawn_in_login,
    transport::{HttpService, JSON, Transport, TransportFuture, USER_AGENT_VALUE},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A login service that asks an OAuth 2 authorization server for tokens; see the [module](super).
///
/// # Errors
///
/// A [`LoginError`] whose source is the [`OAuth2Error`], [permanent](OAuth2Error::is_permanent) or transient, with the
/// server's `Retry-After`.
///
/// # Cancellation
///
/// Dropping a login gives it up; but the grant of a refresh token, once begun, goes on to its end in a task of its own, for as
/// long as the runtime lives, since the answer may be the only copy of the next one. The next login waits for that.
///
/// Clones are one login: they share the refresh token and what has been discovered.
#[derive(Clone)]
pub struct OAuth2Login<S> {
    transport: Transport<S>,
    server: AuthorizationServer,
    client: ClientAuthentication,
    state: Arc<Mutex<State>>,
}

/// What changes from login to login.
struct State {
    grant: Grant,
    discovery: Discovery,
    rotation: Rotation,
}

impl<S> OAuth2Login<S> {
    /// Logs in at `server` as `client`, by `grant`.
    pub fn new(http: S, server: AuthorizationServer, client: ClientAuthentication, grant: Grant) -> Self {
        let state = State { grant, discovery: Discovery::default(), rotation: Rotation::default() };
        let mut transport = Transport::new(http);
        transport.timeout = TIMEOUT;
        Self { transport, server, client, state: Arc::new(Mutex::new(state)) }
    }

    /// How long one exchange may take as a whole: to wait for the HTTP service, to connect, to send, and to read the answer to
    /// its end; and so long may the store of a refresh token take for one thing. 10 seconds unless description. A login may have
    /// several exchanges: two at most to find the token endpoint, and two for a refresh token that another process has rotated.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.transport.timeout = limit;
        self
    }

    /// How many bytes the body of an answer may have; 1 MiB unless description.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.transport.body_limit = bytes;
        self
    }

    /// The local wall clock, for assertions, and for answers that do not tell the server's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.transport.clock = Arc::new(clock);
        self
    }
}

impl<S: HttpService> Service<LoginRequest> for OAuth2Login<S> {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = TransportFuture<AccessToken, LoginError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        let mut attempt = LoginAttempt {
            transport: self.transport.clone(),
            server: self.server.clone(),
            client: self.client.clone(),
        };
        let state = self.state.clone();
        TransportFuture::new(async move {
            let mut state = state.lock_owned().await;
            let store = match &state.grant.kind {
                grant::Kind::RefreshToken(store) => store.clone(),
                _ => return Ok(attempt.log_in(&mut state, request).await?),
            };
            let refreshing = spawn_in_login(async move { attempt.refresh(&mut state, &*store).await });
            match refreshing.await {
                Ok(refreshed) => Ok(refreshed?),
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => Err(OAuth2Error::new("the grant", Kind::Interrupted).into()),
                },
            }
        })
    }
}

/// One login.
struct LoginAttempt<S> {
    transport: Transport<S>,
    server: AuthorizationServer,
    client: ClientAuthentication,
}

impl<S: HttpService> LoginAttempt<S> {
    async fn log_in(&mut self, state: &mut State, request: LoginRequest) -> Result<AccessToken, OAuth2Error> {
        let State { grant, discovery, .. } = state;
        let grant_type = grant.kind.grant_type();
        let (name, assertion) = match &mut grant.kind {
            grant::Kind::TokenExchange(subject) => ("subject_token", Some(subject.login(request).await)),
            grant::Kind::JwtBearer(assertion) => ("assertion", Some(assertion.login(request).await)),
            _ => ("", None),
        };
        let assertion = assertion.transpose().map_err(|error| OAuth2Error::new(grant_type, Kind::Assertion(error)))?;
        let shown = assertion.as_ref().map(|token| (name, token.secret()));
        let (asked, answer) = self.ask(grant_type, &grant.parameters, discovery, shown).await?;
        answer.token.map_err(|kind| OAuth2Error::new(asked, kind))
    }

    async fn refresh(&mut self, state: &mut State, store: &dyn RefreshTokenStore) -> Result<AccessToken, OAuth2Error> {
        let store = &TimedStore { store, limit: self.transport.timeout };
        let failed = |kind| OAuth2Error::new("grant_type refresh_token", kind);
        let _locked = store.lock().await.map_err(failed)?;
        let token = state.rotation.load(store).await.map_err(failed)?;
        match self.refresh_by(state, store, &token).await {
            // Another process may have been quicker.
            Err(error) if error.is_invalid_grant() => match state.rotation.load(store).await {
                Ok(newer) if newer != token => self.refresh_by(state, store, &newer).await,
                _ => Err(error),
            },
            refreshed => refreshed,
        }
    }

    async fn refresh_by(
        &mut self,
        state: &mut State,
        store: &TimedStore<'_>,
        token: &RefreshToken,
    ) -> Result<AccessToken, OAuth2Error> {
        let State { grant, discovery, rotation } = state;
        let (grant_type, parameters) = (grant.kind.grant_type(), &*grant.parameters);
        let shown = Some(("refresh_token", token.secret()));
        let (asked, answer) = self.ask(grant_type, parameters, discovery, shown).await?;
        let saved = match answer.refresh_token.filter(|next| next != token) {
            Some(next) => {
                rotation.rotate(token, next);
                rotation.save(store).await
            }
            None => Ok(()),
        };
        // What is wrong with the answer comes first: the next login begins with saving, and tells of that.
        let granted = answer.token.and_then(|granted| saved.map(|()| granted));
        granted.map_err(|kind| OAuth2Error::new(asked, kind))
    }

    /// Asks for a token, with what there is to show for it. Says what was asked.
    async fn ask(
        &mut self,
        grant_type: &str,
        parameters: &[(String, Zeroizing<String>)],
        discovery: &mut Discovery,
        shown: Option<(&str, &str)>,
    ) -> Result<(String, TokenResponse), OAuth2Error> {
        let Endpoints { endpoint, audience } = discovery.find(&self.server, self.transport.clone()).await?;
        let asked = format!("POST {}{}", server::origin(&endpoint), endpoint.path());
        let mut form = Form::default();
        for (name, value) in parameters {
            form.push(name, value);
        }
        form.push("grant_type", grant_type);
        if let Some((name, value)) = shown {
            form.push(name, value);
        }
        let authorization = match self.client.authenticate(&mut form, &audience, &self.transport.clock) {
            Ok(authorization) => authorization,
            Err(kind) => return Err(OAuth2Error::new(asked, kind)),
        };
        // A server may repeat the header as it came.
        let basic = authorization.as_ref().and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let basic = basic.map(str::to_owned);
        let sent = self.client.secret().into_iter().chain(basic.as_deref()).chain(shown.map(|(_, value)| value));
        let secrets: Vec<&str> = Grant::secrets(parameters).chain(sent).collect();
        let request = request(endpoint, authorization, form.encode());
        let answer = match self.transport.clone().send(request, &secrets).await {
            Ok(received) => token_response::read(received, &secrets),
            Err(broken) => Kind::Transport(broken).into(),
        };
        discovery.stale = answer.token.as_ref().is_err_and(Kind::endpoint_moved);
        Ok((asked, answer))
    }
}

fn request(endpoint: Uri, authorization: Option<HeaderValue>, body: Bytes) -> Result<Request<Full<Bytes>>, BoxError> {
    let mut request = Request::post(endpoint)
        .header(ACCEPT, JSON)
        .header(CONTENT_TYPE, FORM)
        .header(USER_AGENT, USER_AGENT_VALUE)
        .body(Full::new(body))?;
    request.headers_mut().extend(authorization.map(|value| (AUTHORIZATION, value)));
    Ok(request)
}

impl<S> fmt::Debug for OAuth2Login<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Login")
            .field("server", &self.server)
            .field("client", &self.client)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
