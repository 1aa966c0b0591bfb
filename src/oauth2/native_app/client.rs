//! [`Client`]: what the two logins share: the client at its server, and its requests.

use std::{fmt, time::Duration};

use http::Uri;
use tokio::time::Instant;

use super::{
    endpoints::{Endpoints, StartsAt},
    tokens::Tokens,
};
use crate::{
    LoginReason, LoginRequest,
    clock::Timestamp,
    oauth2::{
        AuthorizationServer, ClientAuthentication, OAuth2Error,
        authenticate::{Authentication, Context},
        error_kind::Kind,
        form::Form,
        form_request::{endpoint_name, form_request, query_secrets},
        token_response::{ResponseSettings, TokenResponse},
    },
    transport::{HttpService, Received, Transport, TransportConfig},
};

// As that of `OAuth2Login`.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// A client, and the parameters of its login.
#[derive(Clone)]
pub(super) struct Client<S> {
    transport: Transport<S>,
    pub(super) server: AuthorizationServer,
    authentication: ClientAuthentication,
    parameters: Vec<(String, String)>,
}

impl<S> Client<S> {
    pub(super) fn new(
        transport: Transport<S>,
        server: AuthorizationServer,
        authentication: ClientAuthentication,
    ) -> Self {
        Self { transport, server, authentication, parameters: Vec::new() }
    }

    pub(super) fn set_transport_config(&mut self, config: TransportConfig) {
        self.transport.config = config;
    }

    pub(super) fn add_parameter(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.parameters.push((name.into(), value.into()));
    }

    /// Returns a form with the parameters.
    pub(super) fn form(&self) -> Form {
        let mut form = Form::default();
        for (name, value) in &self.parameters {
            form.push(name, value);
        }
        form
    }

    /// Returns the form of a token request.
    pub(super) fn token_form(&self, grant_type: &str) -> Form {
        let mut form = Form::default();
        form.push("grant_type", grant_type);
        form
    }

    pub(super) fn id(&self) -> &str {
        &self.authentication.id
    }

    pub(super) fn now(&self) -> Instant {
        Timestamp::now(&**self.transport.clock()).monotonic
    }
}

impl<S: HttpService> Client<S> {
    // `&mut self`, so that the future is `Send`: an HTTP service need not be `Sync`.
    pub(super) async fn endpoints(
        &mut self,
        starts_at: StartsAt,
    ) -> Result<Endpoints, OAuth2Error> {
        Endpoints::find(&self.server, starts_at, self.transport.clone()).await
    }

    /// Sends a form with the client's authentication. No error shows one of the `secrets`.
    pub(super) async fn post<T>(
        &mut self,
        uri: &Uri,
        audience: &str,
        mut form: Form,
        secrets: &[&str],
        read: impl FnOnce(Received, &[&str]) -> Result<T, Kind>,
    ) -> Result<T, OAuth2Error> {
        let failed = |kind| OAuth2Error::new(endpoint_name(uri), kind);
        let context = Context {
            request: &LoginRequest::new(LoginReason::First),
            audience,
            server_time: None,
            clock: self.transport.clock(),
            limit: self.transport.timeout(),
        };
        let authenticated = self.authentication.authenticate(&mut form, context).await;
        let Authentication { header, secrets: own, .. } = authenticated.map_err(failed)?;
        let query = query_secrets(uri.query().unwrap_or_default());
        let secrets = secrets.iter().copied().chain(own.iter().map(|secret| &***secret));
        let secrets: Vec<&str> = secrets.chain(query.iter().map(AsRef::as_ref)).collect();
        let request = form_request(uri.clone(), header, form.encode());
        let received = self.transport.clone().send(request, &secrets).await;
        let received = received.map_err(Kind::Transport).map_err(failed)?;
        read(received, &secrets).map_err(failed)
    }

    pub(super) async fn request_tokens(
        &mut self,
        endpoints: &Endpoints,
        form: Form,
        secrets: &[&str],
    ) -> Result<Tokens, OAuth2Error> {
        let (timeout, requested_at) = (self.transport.timeout(), self.now());
        let read = |received: Received, secrets: &[&str]| {
            let response = ResponseSettings::default().read(received, secrets);
            let TokenResponse { refresh_token, token, refresh_token_lifetime, .. } = response;
            // The lifetime counts from the request, even if the token is used much later.
            let token = token?.with_age(requested_at.elapsed());
            let access_token = match refresh_token_lifetime.filter(|_| refresh_token.is_some()) {
                Some(lifetime) => token.with_refresh_deadline(lifetime),
                None => token,
            };
            Ok(Tokens { access_token, refresh_token, timeout })
        };
        self.post(&endpoints.token, &endpoints.audience, form, secrets, read).await
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("Client")
            .field("server", &self.server)
            .field("authentication", &self.authentication)
            .field("parameters", &names)
            .finish_non_exhaustive()
    }
}
