//! [`ArthurApi`]: how requests to the API are sent.

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

/// An Arthur API: its base URL, the HTTP service that reaches it, and the limits of a request.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, service_fn};
/// use tower_auth_refresh::arthur::{ArthurApi, BaseUrl};
///
/// # fn main() -> Result<(), BoxError> {
/// // Any HTTP service, such as `http_client::HttpClient`.
/// let http = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
/// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http).timeout(Duration::from_secs(10));
/// assert_eq!(api.base_url().as_str(), "https://arthur.example");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ArthurApi<S> {
    base_url: BaseUrl,
    transport: Transport<S>,
}

impl<S> ArthurApi<S> {
    /// Creates an API that is reached by an [`HttpService`].
    pub fn new(base_url: BaseUrl, http: S) -> Self {
        Self { base_url, transport: Transport::new(http) }
    }

    /// Sets the time limit of one request, from the wait for the HTTP service to the end of the response. Defaults to 30
    /// seconds.
    ///
    /// If the status of an error response arrives within the limit, the call fails with that status, even if the body
    /// does not arrive. Set the limit below the refresher's
    /// [`login_timeout`](crate::AuthRefresherBuilder::login_timeout), so that the cause of a slow login is reported.
    /// [`GetCurrentOrg`](super::GetCurrentOrg) can send two requests.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.transport.timeout = limit;
        self
    }

    /// Sets the limit of a response's body in bytes. Defaults to 1 MiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.transport.body_limit = bytes;
        self
    }

    /// Sets the local wall clock, for responses without a `Date`. Defaults to [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.transport.clock = Arc::new(clock);
        self
    }

    /// Returns the base URL.
    pub fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }
}

impl<S: HttpService> ArthurApi<S> {
    /// Sends JSON that contains `secret`.
    pub(super) async fn post(
        self,
        path: &str,
        json: serde_json::Result<Bytes>,
        secret: &str,
    ) -> Result<ApiResponse, ArthurError> {
        let header = (CONTENT_TYPE, JSON);
        self.send(Method::POST, path, header, json, secret).await
    }

    /// Requests `path` with the token.
    pub(super) async fn get(
        self,
        path: &str,
        token: &AccessToken,
    ) -> Result<ApiResponse, ArthurError> {
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
        let request =
            body.map_err(BoxError::from).and_then(|body| Ok(request.body(Full::new(body))?));
        let response = async {
            let received =
                self.transport.send(request, &[secret]).await.map_err(Kind::Transport)?;
            if received.head.status.is_success() {
                let body = received.body.map_err(Kind::Transport)?;
                Ok((received.head.headers, body, received.now))
            } else {
                // The status of an error counts without a complete body.
                let body = received.body.unwrap_or_default();
                Err(error_response(&received.head, &body, received.now, secret))
            }
        };
        match response.await {
            Ok((headers, body, now)) => Ok(ApiResponse { endpoint, headers, body, now }),
            Err(kind) => Err(ArthurError::new(endpoint, kind)),
        }
    }
}

fn error_response(head: &Parts, body: &[u8], now: SystemTime, secret: &str) -> Kind {
    let now = date(&head.headers).unwrap_or(now);
    Kind::ErrorResponse(ErrorResponse {
        status: head.status,
        description: redact(body, &[secret]),
        retry_after: retry_after(&head.headers, now),
    })
}

/// A response with status 2xx.
pub(super) struct ApiResponse {
    /// The request, for errors.
    endpoint: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The local time at which it arrived.
    pub(super) now: SystemTime,
}

impl ApiResponse {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ArthurError> {
        serde_json::from_slice(&self.body).map_err(|error| self.error(Kind::json(&error)))
    }

    /// Creates an error for what the response contains or lacks.
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
