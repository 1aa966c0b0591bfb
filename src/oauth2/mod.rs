//! Logins at OAuth 2 authorization servers (RFC 6749), over any HTTP service.
//!
//! ```text
//! HTTP service ───────────┐
//! AuthorizationServer ────┼─▶ OAuth2Login: a login service
//! ClientAuthentication ───┤
//! Grant ──────────────────┘
//! ```
//!
//! - [`AuthorizationServer`] is a token endpoint, or an issuer whose metadata names its token endpoint.
//! - [`ClientAuthentication`] is the client: its id and its authentication method.
//! - [`Grant`] is the basis on which the server issues the token: the client's own authentication
//!   ([`Grant::client_credentials`]), a [refresh token](Grant::refresh_token), [another token](Grant::token_exchange)
//!   or an [assertion](Grant::jwt_bearer).
//!
//! [`native_app`] has the one-time logins of a person, whose refresh token later logins use.
//!
#![cfg_attr(feature = "http-client", doc = "```no_run")]
#![cfg_attr(not(feature = "http-client"), doc = "```ignore")]
//! use tower_auth_refresh::{
//!     AuthRefreshLayer,
//!     http_client::HttpClient,
//!     oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
//! };
//!
//! # fn layer() -> Result<AuthRefreshLayer, tower::BoxError> {
//! let http = HttpClient::builder().build()?;
//! let server = AuthorizationServer::discover("https://login.example.com")?;
//! let client = ClientAuthentication::client_secret_basic("orders", std::env::var("CLIENT_SECRET")?);
//! let grant = Grant::client_credentials().scope("invoices:read");
//! let layer = AuthRefreshLayer::with_login(OAuth2Login::new(http, server, client, grant));
//! # Ok(layer)
//! # }
//! ```
//!
//! # Lifetime of a token
//!
//! The lifetime is `expires_in`, as a number or a number in quotes, counted from when the login was sent. Zero or less is
//! a token that has expired on arrival.
//!
//! - If `expires_in` is missing or invalid, `expires_at` or `expires_on` counts (seconds since 1970). Without those, a
//!   JWT's own `exp` counts ([`Expiry::from_jwt`](crate::Expiry#method.from_jwt)), otherwise the expiry is
//!   [unknown](crate::Expiry::Unknown). An invalid value is recorded as a warning.
//! - If the response has a `Date` and the token is a JWT, the lifetime is at most `exp - Date`. An issuer that caches
//!   responses repeats the full `expires_in` of an older token.
//! - `refresh_in` is [followed](crate::AccessToken::with_refresh_in).
//! - If the refresh token expires first (`refresh_expires_in`, `refresh_token_expires_in`), the refresh starts after
//!   three quarters of its lifetime.
//!
//! # Errors
//!
//! | response | error |
//! | --- | --- |
//! | a code of RFC 6749, section 5.2, or `invalid_target` | permanent |
//! | the same with status 429 or 5xx | transient |
//! | any other code, such as `temporarily_unavailable` | transient |
//! | an error without a code, such as a proxy's page | transient |
//! | a redirect | transient: it can be that of a maintenance page; the error names the origin of its target |
//! | none, or invalid, too large or too late | transient |
//!
//! A refresher retries a permanent error too, at most twice while the token is valid. The HTTP service may follow
//! redirects within the origin. Responses in form encoding are accepted, and so is an error with status 200.
//!
//! # Clocks
//!
//! Assertions are signed by the server's clock, once a response has shown it, and by the local clock before that. If a
//! server rejects an assertion and the two clocks deviate, the login signs another one by the other clock at once.

// In reading order. What users write: `server`, `client_authentication` (with `private_key`, `signing_key`, `signed_jwt`
// and `credential_source`) and `grant` (with `refresh_token`). What is sent: `form`, `form_request` and `authenticate`. What is received:
// `response_fields`, `lifetime`, `token_response` and `error`. What a login remembers: `discovery`, `rotation` and
// `server_clock`. `login_attempt` is the flow and `login` the service.
// `native_app` is the login of a person.
mod authenticate;
mod client_authentication;
mod credential_source;
mod discovery;
mod error;
mod error_kind;
mod form;
mod form_request;
mod grant;
mod lifetime;
mod login;
mod login_attempt;
#[cfg(feature = "oauth2-native-app")]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth2-native-app")))]
pub mod native_app;
mod private_key;
mod refresh_token;
mod response_fields;
mod rotation;
mod server;
mod server_clock;
mod signed_jwt;
mod signing_key;
mod token_response;

pub use crate::store_future::StoreFuture;
pub use client_authentication::ClientAuthentication;
pub use error::OAuth2Error;
pub use grant::Grant;
pub use login::OAuth2Login;
pub use private_key::InvalidKey;
pub use refresh_token::{RefreshToken, RefreshTokenStore};
pub use server::{AuthorizationServer, InvalidServer};
pub use signed_jwt::SignedJwt;
pub use signing_key::SigningKey;
