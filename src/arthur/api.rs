//! [`ArthurApi`]: how requests to the API are sent.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use serde::de::DeserializeOwned;

use super::{
    ArthurError, BaseUrl,
    error::{ErrorResponse, Kind},
};
use crate::{
    AccessToken, BoxError,
    transport::{HttpService, Received, Transport, TransportConfig},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An Arthur API: its base URL, the HTTP service that reaches it, and the limits of a request.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, service_fn};
/// use tower_auth_refresh::arthur::{ArthurApi, BaseUrl};
///
/// # fn main() -> Result<(), BoxError> {
/// // Any HTTP service, such as `http_client::HttpClient`.
/// let http = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
/// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http);
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
        Self { base_url, transport: Transport::new(http, TIMEOUT) }
    }

    /// Sets the limits of each request, and the local clock. Defaults to a timeout of 30 seconds, a response body of at
    /// most 1 MiB, and [`SystemClock`](crate::SystemClock).
    ///
    /// The refresher's [`login_timeout`](crate::AuthRefresherBuilder::login_timeout) is also 30 seconds by default. Set a
    /// shorter timeout here, so that the refresher reports the cause of a slow login.
    ///
    /// [`GetCurrentOrg`](super::GetCurrentOrg) can send two requests.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use tower::{BoxError, service_fn};
    /// use std::time::Duration;
    /// use tower_auth_refresh::{arthur::{ArthurApi, BaseUrl}, transport::TransportConfig};
    ///
    /// # fn main() -> Result<(), BoxError> {
    /// # let http = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
    /// let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http)
    ///     .transport_config(TransportConfig::new().timeout(Duration::from_secs(10)));
    /// # let _ = api;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "timeout")]
    #[doc(alias = "body_limit")]
    #[doc(alias = "clock")]
    pub fn transport_config(mut self, config: TransportConfig) -> Self {
        self.transport.config = config;
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
        let request = Request::builder().method(method).uri(url).header(name, value);
        let request =
            body.map_err(BoxError::from).and_then(|body| Ok(request.body(Full::new(body))?));
        let response = async {
            let received =
                self.transport.send(request, &[secret]).await.map_err(Kind::Transport)?;
            if received.head.status.is_success() {
                let body = received.body.map_err(Kind::Transport)?;
                Ok((received.head.headers, body, received.now))
            } else {
                Err(error_response(&received, secret))
            }
        };
        match response.await {
            Ok((headers, body, now)) => Ok(ApiResponse { endpoint, headers, body, now }),
            Err(kind) => Err(ArthurError::new(endpoint, kind)),
        }
    }
}

fn error_response(response: &Received, secret: &str) -> Kind {
    Kind::ErrorResponse(ErrorResponse {
        status: response.head.status,
        retry_after: response.retry_after(),
        // The status of an error counts without a complete body.
        description: response.description(&[secret]),
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
