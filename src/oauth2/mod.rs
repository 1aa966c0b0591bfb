//! Logins at OAuth 2 authorization servers (RFC 6749), over any HTTP service.
//!
//! ```text
//! HTTP service ───────────┐
//! AuthorizationServer ────┼─▶ OAuth2Login: a login service
//! ClientAuthentication ───┤
//! Grant ──────────────────┘
//! ```
//!
//! A [`ClientAuthentication`] is who asks, and how it proves that; a [`Grant`] is what it has to show for the token: nothing more
//! ([`Grant::client_credentials`]), a [refresh token](Grant::refresh_token), [another token](Grant::token_exchange), or an
//! [assertion](Grant::jwt_bearer). The [`AuthorizationServer`] is a token endpoint, or an issuer that tells where its own is.
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
//! # What a token's life is
//!
//! `expires_in`, as a number or as one in quotes, counted from when the login was sent; where it is missing, the token's own
//! `exp` if it is a JWT ([`Expiry::from_jwt`](crate::Expiry#method.from_jwt)), and else it is
//! [unknown](crate::Expiry::Unknown). Of zero or less, it is a token that has expired on arrival. `refresh_in` is
//! [followed](crate::AccessToken::with_refresh_in).
//!
//! # What an error is
//!
//! | the answer | is |
//! | --- | --- |
//! | one of the codes of RFC 6749, section 5.2, or `invalid_target` | permanent |
//! | the same with 429 or 5xx | transient |
//! | any other code (`temporarily_unavailable`, `server_error`) | transient |
//! | an error without a code, such as a proxy's page | transient |
//! | a redirect | transient: it can be that of a maintenance page; the error names its origin |
//! | none, or not the JSON expected, or too large, or late | transient |
//!
//! Redirects within the origin may be followed by the HTTP service beneath.

// In reading order: `server`, `client` (with `signing_key` and `assertion`) and `grant` (with `refresh_token`) are what a user
// says; `form` is what is sent and `answer` what comes; `discovery` and `rotation` are what a login remembers; `login` is the
// flow.
mod assertion;
mod client_authentication;
mod discovery;
mod error;
mod form;
mod grant;
mod login;
mod refresh_token;
mod rotation;
mod server;
mod signing_key;
mod token_response;

pub use assertion::SignedJwt;
pub use client_authentication::ClientAuthentication;
pub use error::OAuth2Error;
pub use grant::Grant;
pub use login::OAuth2Login;
pub use refresh_token::{RefreshToken, RefreshTokenStore, StoreFuture};
pub use server::{AuthorizationServer, InvalidServer};
pub use signing_key::{InvalidKey, SigningKey};

pub use crate::transport::{HttpService, TransportFuture};
