//! A tower layer that keeps an access token fresh and puts it on every outgoing request.
//!
//! ```text
//!  credentials ─▶ login service ─▶ AccessToken ─▶ schedule ─▶ worker ─▶ ┌─────────┐
//!                                                                       │ current │   one ArcSwap
//!  request ─▶ AuthRefresh::call ◀───────────── header ───────────────── └─────────┘
//!                 └─▶ inner service ─▶ ResponseFuture ─▶ response
//!                                           └─ rejected? tell the worker, maybe replay once
//! ```
//!
//! An [`AuthRefresher`] is one identity: it knows how to log in, and keeps the token. An [`AuthRefreshLayer`] puts that
//! token on the requests of any number of clients. A login service is any tower service from [`LoginRequest`] to
//! [`AccessToken`]. Ready-made ones are in [`oauth2`] (the grants), [`sources`] (a file, a command, a variable) and
//! [`arthur`].
//!
//! ```
//! use std::time::Duration;
//!
//! use http::{Request, Response, header::AUTHORIZATION};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_auth_refresh::{AccessToken, AuthRefreshLayer, AuthRefresher, LoginRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // How to log in: here somebody would ask the identity provider.
//! let login = service_fn(|_: LoginRequest| async {
//!     let token = AccessToken::bearer("s3cr3t")?.with_expires_in(Duration::from_secs(3600));
//!     Ok::<_, BoxError>(token)
//! });
//! let refresher = AuthRefresher::new(login);
//!
//! // Where the token goes: any HTTP service, hyper's client or a mock.
//! let client = ServiceBuilder::new()
//!     .layer(AuthRefreshLayer::new(refresher.clone()))
//!     .service_fn(|request: Request<String>| async move {
//!         Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
//!     });
//!
//! let request = Request::get("https://api.example.com/").body(String::new())?;
//! assert_eq!(client.oneshot(request).await?.body(), "Bearer s3cr3t");
//! assert_eq!(refresher.status().generation, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What to rely on
//!
//! In short (at length, with the defaults: [`reliability`]):
//!
//! - With a token, a call costs one look at a shared cell, one clone of a header value and one insert, hardly more than a
//!   header that never changes: no lock, no clock, no allocation (but for what `arc-swap` sets up at a thread's first look),
//!   and for a service that lives long no count of references that all threads would fight over.
//! - A token is refreshed before its end, in a task of its own. No request waits for that.
//! - One login at a time, however many wait for it; they share its success and its failure.
//! - A failed login never displaces a token that is still good, and none is the last: the next comes after a pause.
//! - A token that the server rejects is replaced at once, at a limited rate; the request can be
//!   [sent once more](AuthRefreshLayer::replay).
//! - The token goes to `https` and to the loopback only, unless told otherwise; no secret is in any `Debug` output,
//!   error or event.
//!
//! # Guides
//!
//! [Which login you have](guides::which_login), [where the layer goes in a stack](guides::placement),
//! [how to write a login service](guides::login_service), [what happens when the login fails](guides::failures),
//! [how to test](guides::testing), [how to migrate](guides::migrating) from a mutex and a string,
//! [what is depended on](guides::dependencies).
//!
//! # Features
//!
//! By default: `arthur` (the [Arthur API](arthur)), `http-client` (a [ready-made HTTP client](http_client) for logins), `jwt`
//! ([`Expiry::from_jwt`]), `replay-buffered` ([`ReplayBuffered`]) and `tracing` (events of the token's life). Besides:
//! `jwt-verify`, the check of the signature of the Arthur API's tokens; `metrics`, counts and times of the token's life
//! ([`observability`]); `oauth2`, `token-file` and `token-command`, logins [for those](guides::which_login); and `test-util`,
//! a [kit](test_util) for tests.
//! Without any, the layer and the refresher remain; they work with any login service.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]
// The links to features that are off lead nowhere; with all of them on, every link is checked.
#![cfg_attr(
    not(all(
        feature = "arthur",
        feature = "http-client",
        feature = "jwt",
        feature = "oauth2",
        feature = "replay-buffered",
        feature = "test-util",
        feature = "token-command",
        feature = "token-file"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

mod authorize;
mod clock;
mod error;
#[cfg(feature = "_exchange")]
#[cfg_attr(not(all(feature = "arthur", feature = "oauth2")), allow(dead_code, reason = "each login uses a part"))]
mod exchange;
mod expiry;
#[cfg(any(feature = "oauth2", feature = "token-command"))]
mod json;
#[cfg(feature = "jwt")]
mod jwt;
mod login;
mod loopback;
mod panic;
mod refresh;
mod telemetry;
mod token;

#[cfg(feature = "arthur")]
#[cfg_attr(docsrs, doc(cfg(feature = "arthur")))]
pub mod arthur;
#[cfg(feature = "http-client")]
#[cfg_attr(docsrs, doc(cfg(feature = "http-client")))]
pub mod http_client;

pub mod guides;
#[cfg(feature = "oauth2")]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth2")))]
pub mod oauth2;
pub mod observability;
pub mod reliability;
pub mod sources;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;

pub use authorize::{
    AuthRefresh, AuthRefreshLayer, ClassifyRejection, DestinationPolicy, Error, GrpcUnauthenticatedAsRejection,
    InvalidOrigin, NeverReject, NeverReplay, ReplayClone, ReplayPolicy, ResponseFuture, TokenInfo, TokenValidFor,
    UnauthorizedAsRejection, UnsafeDestination,
};
#[cfg(feature = "replay-buffered")]
#[cfg_attr(docsrs, doc(cfg(feature = "replay-buffered")))]
pub use authorize::{BufferedBody, ReplayBuffered};
pub use clock::{Clock, SystemClock};
pub use error::BoxError;
pub use expiry::Expiry;
pub use login::{LoginError, LoginReason, LoginRequest};
pub use refresh::{
    AuthRefresher, AuthRefresherBuilder, InvalidSetting, NoTokenPolicy, Refreshed, State, Status, StatusClosed,
    StatusReceiver, WeakAuthRefresher,
};
pub use token::{AccessToken, InvalidToken};

/// The README's code, compiled.
#[cfg(all(doctest, feature = "http-client", feature = "oauth2"))]
#[doc = include_str!("../README.md")]
struct Readme;
