//! reqwest's client below the layer and below the logins, and the layer as a middleware of `reqwest-middleware`.
//!
//! [`ReqwestService`] makes `reqwest::Client` a service of [`http::Request`] and [`http::Response`]. Put
//! [`AuthRefreshLayer`](crate::AuthRefreshLayer) above it. [`RequestBuilderExt::send_with`] sends a request of reqwest's
//! builder through that stack and returns a [`reqwest::Response`], complete with its URL, JSON and streams:
//!
//! ```no_run
//! # #[cfg(feature = "replay-buffered")]
//! # async fn run() -> Result<(), tower::BoxError> {
//! use http::StatusCode;
//! use serde_json::{Value, json};
//! use tower::ServiceBuilder;
//! use tower_auth_refresh::{
//!     AccessToken, AuthRefreshLayer, ReplayBuffered, login_fn,
//!     reqwest_client::{RequestBuilderExt, ReqwestService, same_origin_redirects},
//! };
//!
//! let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
//! let reqwest = reqwest::Client::builder().redirect(same_origin_redirects()).build()?;
//! let client = ServiceBuilder::new()
//!     .layer(AuthRefreshLayer::with_login(login).replay(ReplayBuffered::new()))
//!     .service(ReqwestService::new(reqwest.clone()));
//!
//! let request = reqwest.post("https://api.example.com/orders").json(&json!({ "item": 7 }));
//! let response = request.send_with(&client).await?;
//! assert_eq!(response.status(), StatusCode::CREATED);
//! let order: Value = response.json().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`ReplayBuffered`](crate::ReplayBuffered) replays any body of reqwest, also a stream.
//!
//! # Logins
//!
//! The logins of this crate accept the same service as their HTTP service. They then use the proxy and the TLS settings
//! of the application:
//!
//! ```
//! # #[cfg(feature = "oauth2")] {
//! use tower_auth_refresh::{
//!     oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
//!     reqwest_client::{ReqwestService, same_origin_redirects},
//! };
//!
//! # fn login() -> Result<(), tower::BoxError> {
//! let reqwest = reqwest::Client::builder().redirect(same_origin_redirects()).build()?;
//! let server = AuthorizationServer::discover("https://login.example.com")?;
//! let client = ClientAuthentication::client_secret_basic("orders", "s3cr3t");
//! let login = OAuth2Login::new(ReqwestService::new(reqwest), server, client, Grant::client_credentials());
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! reqwest does not send the body of a login to the target of a redirect. After 301, 302 and 303 it sends a GET instead.
//! The login then reports a redirect, and not what that GET returned.
//!
//! # Redirects
//!
//! reqwest follows redirects below the layer, by default up to 10. The layer checks only the first URL, and a rejection
//! by any hop counts against the token:
//!
//! - reqwest removes `Authorization` when a redirect leaves the origin (RFC 6454, section 4). The other origin may
//!   respond with 401 because there is no token, and the layer counts this as a rejection.
//! - reqwest forwards a token in [another header](crate::AuthRefreshLayer::header) to every origin.
//! - A replay starts at the first URL.
//!
//! So build the client with [`same_origin_redirects`], or without redirects
//! ([`reqwest::redirect::Policy::none`]) and with tower-http's `FollowRedirect` above the layer. The layer then checks
//! every hop.
//!
//! # Proxies
//!
//! The layer checks the URL, not the proxy. A proxy for `https` sees an encrypted tunnel. A proxy for `http` sees the
//! token, even if the URL's host is the loopback.
//!
//! # Middleware
//!
//! With the feature `reqwest-middleware`, an [`AuthRefreshLayer`](crate::AuthRefreshLayer) is a
//! `reqwest_middleware::Middleware`, without a [`ReqwestService`]. It replays with
//! [`ReplayWith`](crate::ReplayWith) and `reqwest::Request::try_clone`, which clones any body but a stream:
//!
//! ```no_run
//! # #[cfg(feature = "reqwest-middleware")]
//! # async fn run() -> Result<(), reqwest_middleware::Error> {
//! use reqwest_middleware::ClientBuilder;
//! use tower_auth_refresh::{
//!     AccessToken, AuthRefreshLayer, ReplayWith, login_fn, reqwest_client::same_origin_redirects,
//! };
//!
//! let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
//! let reqwest = reqwest::Client::builder().redirect(same_origin_redirects()).build()?;
//! let client = ClientBuilder::new(reqwest)
//!     .with(AuthRefreshLayer::with_login(login).replay(ReplayWith(reqwest::Request::try_clone)))
//!     .build();
//!
//! let response = client.get("https://api.example.com/orders").send().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Put middlewares that send a request several times, such as `reqwest-retry`, before the layer. Every attempt then uses
//! the current token.

mod body;
mod future;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod redirect;
mod send;
mod service;

#[cfg(feature = "_transport")]
pub(crate) use self::future::RedirectedTo;
pub use self::{
    future::ReqwestFuture, redirect::same_origin_redirects, send::RequestBuilderExt,
    service::ReqwestService,
};
