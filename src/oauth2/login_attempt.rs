//! [`LoginAttempt`]: the requests of one login.

use tokio::time::Instant;

use super::{
    AuthorizationServer, ClientAuthentication, Grant, OAuth2Error, RefreshToken, RefreshTokenStore,
    authenticate::{Authentication, Context},
    credential_source::Credential,
    discovery::{Discovery, Endpoints},
    error_kind::Kind,
    form::Form,
    form_request::{endpoint_name, form_request, query_secrets},
    rotation::{RotationState, TimedStore},
    server_clock::ServerClock,
    token_response::{ResponseSettings, TokenResponse},
};
use crate::{
    AccessToken, LoginRequest,
    transport::{HttpService, Transport, date},
};

/// What changes from login to login.
pub(super) struct LoginState {
    pub(super) grant: Grant,
    pub(super) discovery: Discovery,
    pub(super) rotation: RotationState,
    pub(super) server_clock: ServerClock,
}

/// One login.
pub(super) struct LoginAttempt<S> {
    pub(super) transport: Transport<S>,
    pub(super) server: AuthorizationServer,
    pub(super) client: ClientAuthentication,
    pub(super) response: ResponseSettings,
    pub(super) request: LoginRequest,
}

/// A refresh token to send, and the store that is notified before.
struct Refresh<'a> {
    store: &'a TimedStore<'a>,
    token: &'a RefreshToken,
    is_announced: bool,
}

impl Refresh<'_> {
    /// Announces the token. A request that is signed again sends a token that is announced already.
    async fn announce(&mut self) -> Result<(), Kind> {
        if !self.is_announced {
            self.store.before_send(self.token.clone()).await?;
            self.is_announced = true;
        }
        Ok(())
    }
}

/// The response to one token request.
struct Exchange {
    endpoint: String,
    response: TokenResponse,
    /// The server has rejected an assertion, which may have been signed by a wrong clock.
    sign_again: bool,
}

impl<S: HttpService> LoginAttempt<S> {
    pub(super) async fn log_in(
        &mut self,
        state: &mut LoginState,
    ) -> Result<AccessToken, OAuth2Error> {
        let Exchange { endpoint, response, .. } = self.request_token(state, None).await?;
        let token = response.token.map_err(|kind| OAuth2Error::new(endpoint, kind))?;
        self.response.inspect(&response.fields);
        Ok(token)
    }

    pub(super) async fn refresh(
        &mut self,
        state: &mut LoginState,
        store: &dyn RefreshTokenStore,
    ) -> Result<AccessToken, OAuth2Error> {
        let store = &TimedStore { store, limit: self.transport.timeout() };
        let failed = |kind| OAuth2Error::new("grant_type refresh_token", kind);
        let _lock = store.lock().await.map_err(failed)?;
        let token = state.rotation.load(store).await.map_err(failed)?;
        match self.refresh_with(state, store, &token).await {
            // A process without a lock may have rotated the token.
            Err(error) if error.is_invalid_grant() => match state.rotation.load(store).await {
                Ok(newer) if newer != token => self.refresh_with(state, store, &newer).await,
                _ => Err(error),
            },
            refreshed => refreshed,
        }
    }

    async fn refresh_with(
        &mut self,
        state: &mut LoginState,
        store: &TimedStore<'_>,
        token: &RefreshToken,
    ) -> Result<AccessToken, OAuth2Error> {
        let mut refresh = Refresh { store, token, is_announced: false };
        state.rotation.start_sending(token);
        let exchange = self.request_token(state, Some(&mut refresh)).await;
        let Exchange { endpoint, response, .. } = match exchange {
            Ok(exchange) => exchange,
            Err(error) => {
                // The first request was rejected, and the second was not sent.
                state.rotation.allow_resend();
                if refresh.is_announced {
                    let _ = store.after_send(token.clone()).await;
                }
                return Err(error);
            }
        };
        let saved = match response.refresh_token.filter(|next| next != token) {
            Some(next) => {
                state.rotation.rotate(token, next);
                state.rotation.save(store).await
            }
            None if response.token.as_ref().is_err_and(Kind::may_hide_rotation) => Ok(()),
            None => {
                state.rotation.allow_resend();
                store.after_send(token.clone()).await
            }
        };
        // The error of the response comes first: the next login starts with the save, and reports its error.
        let granted = response.token.and_then(|granted| saved.map(|()| granted));
        let granted = granted.map_err(|kind| OAuth2Error::new(endpoint, kind))?;
        self.response.inspect(&response.fields);
        Ok(granted)
    }

    /// Requests a token. If the server rejects an assertion and its clock deviates from the local one, signs another by the
    /// other clock.
    async fn request_token(
        &mut self,
        state: &mut LoginState,
        mut refresh: Option<&mut Refresh<'_>>,
    ) -> Result<Exchange, OAuth2Error> {
        let exchange = self.exchange(state, refresh.as_deref_mut()).await?;
        if exchange.sign_again { self.exchange(state, refresh).await } else { Ok(exchange) }
    }

    async fn exchange(
        &mut self,
        state: &mut LoginState,
        refresh: Option<&mut Refresh<'_>>,
    ) -> Result<Exchange, OAuth2Error> {
        let refresh_token = refresh.as_ref().map(|refresh| refresh.token);
        let LoginState { grant, discovery, server_clock, .. } = state;
        let (clock, timeout) = (self.transport.clock(), self.transport.timeout());
        let Endpoints { endpoint: uri, audience } =
            discovery.find(&self.server, self.transport.clone()).await?;
        let endpoint = endpoint_name(&uri);
        let failed = |kind| OAuth2Error::new(endpoint.clone(), kind);
        let server_time = server_clock.now(clock);

        let mut form = Form::default();
        for (name, value) in &grant.parameters {
            form.push(name, value);
        }
        form.push("grant_type", grant.kind.grant_type());
        let credential = match grant.kind.source() {
            Some((name, source)) => {
                let loaded = source.load(self.request.clone(), server_time, timeout).await;
                let credential = loaded.map_err(|error| failed(Kind::Credential(name, error)))?;
                form.push(name, &credential.secret);
                Some(credential)
            }
            None => None,
        };
        if let Some(token) = refresh_token {
            form.push("refresh_token", token.secret());
        }
        let context = Context {
            request: &self.request,
            audience: &audience,
            server_time,
            clock,
            limit: timeout,
        };
        let authentication = self.client.authenticate(&mut form, context).await.map_err(failed)?;
        let Authentication { header, secrets, signed_at } = authentication;

        let credential_secret = credential.as_ref().map(|Credential { secret, .. }| &***secret);
        let shown = credential_secret.into_iter().chain(refresh_token.map(RefreshToken::secret));
        let query = query_secrets(uri.query().unwrap_or_default());
        let secrets = grant.secrets().chain(secrets.iter().map(|secret| &***secret));
        let secrets: Vec<&str> =
            secrets.chain(shown).chain(query.iter().map(AsRef::as_ref)).collect();
        let request = form_request(uri.clone(), header, form.encode());
        #[expect(clippy::disallowed_methods, reason = "measures how long the request takes")]
        let sent_at = Instant::now();
        if let Some(refresh) = refresh {
            let announced = refresh.announce().await;
            announced.map_err(|kind| OAuth2Error::new("grant_type refresh_token", kind))?;
        }
        let received = self.transport.clone().send(request, &secrets).await;
        if let Some(server_time) =
            received.as_ref().ok().and_then(|received| date(&received.head.headers))
        {
            server_clock.record(server_time, clock);
        }
        let signed_at =
            credential.as_ref().and_then(|credential| credential.signed_at).or(signed_at);
        let signed_at = signed_at.and_then(|signed_at| signed_at.checked_add(sent_at.elapsed()));
        let mut response = match received {
            Ok(received) => self.response.read(received, &secrets),
            Err(error) => Kind::Transport(error).into(),
        };
        let is_rejected = match refresh_token {
            None => response.token.as_ref().is_err_and(Kind::rejects_credentials),
            // A refresh token that was rejected or replaced must not be sent again.
            Some(_) => {
                response.refresh_token.is_none()
                    && response.token.as_ref().is_err_and(Kind::rejects_client)
            }
        };
        let signed_at = signed_at.filter(|_| is_rejected);
        let sign_again = signed_at.is_some_and(|signed_at| {
            server_clock.replace_rejected(signed_at, server_time.is_none(), clock)
        });
        if let Some(lifetime) = response.refresh_token_lifetime.filter(|_| refresh_token.is_some())
        {
            response.token = response.token.map(|token| token.with_refresh_deadline(lifetime));
        }
        discovery.stale = response.token.as_ref().is_err_and(Kind::endpoint_moved);
        Ok(Exchange { endpoint, response, sign_again })
    }
}
