//! [`ArthurApi`]: the one place where an exchange happens, and its limits.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
    response::Parts,
};
use http_body_util::Full;
use serde::de::DeserializeOwned;

use super::{
    ArthurError, BaseUrl, HttpService,
    error::{ErrorResponse, Kind},
};
use crate::{
    AccessToken, BoxError, Clock,
    transport::{JSON, Transport, USER_AGENT_VALUE, date, redact, retry_after},
};

/// An Arthur API: where it is, the HTTP service to reach it by, and the limits of an exchange.
#[derive(Clone)]
pub struct ArthurApi<S> {
    base_url: BaseUrl,
    transport: Transport<S>,
}

impl<S> ArthurApi<S> {
    /// An API behind an [`HttpService`].
    pub fn new(base_url: BaseUrl, http: S) -> Self {
        Self { base_url, transport: Transport::new(http) }
    }

    /// How long one exchange may take as a whole: to wait for the HTTP service, to connect, to send, and to read the
    /// answer to its end. 30 seconds unless description. Where the head of the answer has come by then and says no, that is the
    /// error, and not the time; make this shorter than the refresher's
    /// [`login_timeout`](crate::AuthRefresherBuilder::login_timeout), so that it is heard.
    /// ([`GetCurrentOrg`](super::GetCurrentOrg) may need two exchanges.)
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

    /// The local wall clock, for answers that do not tell the server's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.transport.clock = Arc::new(clock);
        self
    }

    /// Where the API is.
    pub fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }
}

impl<S: HttpService> ArthurApi<S> {
    /// Posts JSON, which holds `secret`.
    pub(super) async fn post(
        self,
        path: &str,
        json: serde_json::Result<Bytes>,
        secret: &str,
    ) -> Result<ApiResponse, ArthurError> {
        let header = (CONTENT_TYPE, JSON);
        self.send(Method::POST, path, header, json, secret).await
    }

    /// Gets `path` with the token.
    pub(super) async fn get(self, path: &str, token: &AccessToken) -> Result<ApiResponse, ArthurError> {
        let header = (AUTHORIZATION, token.header_value().clone());
        self.send(Method::GET, path, header, Ok(Bytes::new()), token.secret()).await
    }

    async fn send(
        self,
        method: Method,
        path: &str,
        (name, value): (HeaderName, HeaderValue),
        body: serde_json::Result<Bytes>,
        secret: &str,
    ) -> Result<ApiResponse, ArthurError> {
        let url = format!("{}/api/v3{path}", self.base_url);
        let endpoint = format!("{method} {url}");
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(ACCEPT, JSON)
            .header(USER_AGENT, USER_AGENT_VALUE)
            .header(name, value);
        let request = body.map_err(BoxError::from).and_then(|body| Ok(request.body(Full::new(body))?));
        let answer = async {
            let received = self.transport.send(request, &[secret]).await.map_err(Kind::Transport)?;
            if received.head.status.is_success() {
                let body = received.body.map_err(Kind::Transport)?;
                Ok((received.head.headers, body, received.now))
            } else {
                // The status counts, though the body did not come whole or in time.
                let body = received.body.unwrap_or_default();
                Err(refused(&received.head, &body, received.now, secret))
            }
        };
        match answer.await {
            Ok((headers, body, now)) => Ok(ApiResponse { endpoint, headers, body, now }),
            Err(kind) => Err(ArthurError::new(endpoint, kind)),
        }
    }
}

fn refused(head: &Parts, body: &[u8], now: SystemTime, secret: &str) -> Kind {
    let now = date(&head.headers).unwrap_or(now);
    Kind::ErrorResponse(ErrorResponse {
        status: head.status,
        description: redact(body, &[secret]),
        retry_after: retry_after(&head.headers, now),
    })
}

/// What a 2xx answer description.
pub(super) struct ApiResponse {
    /// What was endpoint, for errors.
    endpoint: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The local time at which it came.
    pub(super) now: SystemTime,
}

impl ApiResponse {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ArthurError> {
        serde_json::from_slice(&self.body).map_err(|error| self.error(Kind::json(&error)))
    }

    /// An error for what the answer description or lacked.
    pub(super) fn error(&self, kind: Kind) -> ArthurError {
        ArthurError::new(self.endpoint.clone(), kind)
    }
}

impl<S> fmt::Debug for ArthurApi<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArthurApi")
            .field("base_url", &self.base_url.as_str())
            .field("transport", &self.transport)
            .finish()
    }
}
