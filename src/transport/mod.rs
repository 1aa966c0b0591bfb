//! The HTTP requests of the ready-made logins: their service, their limits and their errors.
//!
//! [`OAuth2Login`](crate::oauth2::OAuth2Login) and [`ArthurApi`](crate::arthur::ArthurApi) send their requests over any
//! [`HttpService`]. [`TransportConfig`] sets the limits of each request. A [`TransportError`] states why there is no
//! complete response.
//!
#![cfg_attr(feature = "oauth2", doc = "```")]
#![cfg_attr(not(feature = "oauth2"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{BoxError, service_fn};
//! use tower_auth_refresh::{
//!     AuthRefresher,
//!     oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Error, OAuth2Login},
//!     transport::{TransportConfig, TransportError},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // A server that does not respond.
//! let http = service_fn(|_: Request<Full<Bytes>>| std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>());
//! let server = AuthorizationServer::token_endpoint("https://login.example.com/token")?;
//! let client = ClientAuthentication::client_secret_basic("orders", "swordfish");
//! let login = OAuth2Login::new(http, server, client, Grant::client_credentials())
//!     .transport_config(TransportConfig::new().timeout(Duration::from_millis(10)));
//!
//! let error = AuthRefresher::new(login).token().await.unwrap_err();
//! let error: &OAuth2Error = error.cause().unwrap();
//! assert!(error.transport_error().is_some_and(TransportError::is_timeout));
//! # Ok(())
//! # }
//! ```

// In reading order. What users see: `http_service`, `config`, `error` (with `error_kind` and `redirect`) and `future`, the
// future of the services that are built on this. What errors show: `redacted_error` and `redact`, texts without secrets.
// `exchange` sends a request. `secure_url` checks a URL that secrets are sent to, and `server_time` reads the server's
// clock and `Retry-After`.
mod config;
mod error;
mod error_kind;
mod exchange;
mod future;
mod http_service;
mod redact;
mod redacted_error;
mod redirect;
mod secure_url;
mod server_time;

pub use self::{
    config::TransportConfig, error::TransportError, future::TransportFuture,
    http_service::HttpService,
};
pub(crate) use self::{
    exchange::{Received, Transport},
    redact::redact,
    secure_url::{InvalidUrl, validate as validate_url},
    server_time::date,
};
