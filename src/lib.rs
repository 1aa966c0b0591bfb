//! Keeps an access token fresh and sets it on every outgoing request, as a tower layer.
//!
//! ```text
//!  credentials ─▶ login service ─▶ AccessToken ─▶ refresh state ─▶ ┌─────────┐
//!                       ▲                                   │      │ current │   one ArcSwap
//!                       └─ worker: refreshes before expiry ─┘      └────┬────┘
//!  request ─▶ AuthRefresh::call ◀──────────────── header ───────────────┘
//!                 └─▶ inner service ─▶ ResponseFuture ─▶ response
//!                                           └─ rejected? report it, maybe replay once
//! ```
//!
//! An [`AuthRefresher`] is the handle of one identity's token: it logs in and refreshes. An [`AuthRefreshLayer`] sets
//! that token on the requests of any number of clients. A login service is any tower service from [`LoginRequest`] to
//! [`AccessToken`]. Ready-made ones are in [`oauth2`] (OAuth 2 grants), [`sources`] (a file, a command, a variable) and
//! [`arthur`] (the Arthur API). [`transport`] has the limits and the errors of their HTTP requests.
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
//! // How to log in. A real login service requests the token from the issuer.
//! let login = service_fn(|_: LoginRequest| async {
//!     let token = AccessToken::bearer("s3cr3t")?.with_expires_in(Duration::from_secs(3600));
//!     Ok::<_, BoxError>(token)
//! });
//! let refresher = AuthRefresher::new(login);
//!
//! // Where the token goes: any HTTP service, such as hyper's client or a mock.
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
//! This is a summary. [`reliability`](guides::reliability) has all promises, with the defaults and the known limits.
//!
//! - With a token, a call costs one atomic load or one `ArcSwap` load, one clone of a header value and one insert. That
//!   is little more than a static header costs. The call waits for no lock. Only the first calls of a thread, and the
//!   first calls with a new token, allocate. The call reads a clock only if the worker is on a current-thread runtime.
//! - A background task refreshes a token before it expires. No request waits for a refresh.
//! - One login runs at a time. All callers that wait for it share its success and its failure.
//! - A failed login never displaces a valid token, and no failure is final. The worker retries the login after a pause.
//! - A token that a server rejects is replaced at once, at a limited rate. The request can be
//!   [replayed](AuthRefreshLayer::replay).
//! - By default, tokens go to `https` and to the loopback only. No `Debug` output, error or event contains a secret.
//!
//! # Guides
//!
//! - [Which login to use](guides::which_login)
//! - [Where the layer goes in a stack](guides::placement), and [the stack for each HTTP client](guides::clients)
//! - [How to write a login service](guides::login_service)
//! - [How one client uses many identities](guides::many_identities)
//! - [How many processes share one token](guides::many_processes)
//! - [How a command line tool logs a person in once](guides::command_line_tools)
//! - [What happens when a login fails](guides::failures)
//! - [How to test](guides::testing)
//! - [How to migrate](guides::migrating) from a mutex and a string
//! - [What the crate promises](guides::reliability), and [what it records](guides::observability)
//! - [What a call costs](guides::speed)
//! - [What the crate depends on](guides::dependencies), and [how it is built](guides::architecture)
//!
//! # Features
//!
//! By default, only `tracing` is enabled.
//!
//! | feature | purpose |
//! | --- | --- |
//! | `arthur` | the [Arthur API](arthur): a login service and helper endpoints |
//! | `arthur-jwt-verify` | verifies the signatures of the Arthur API's tokens |
//! | `http-client` | a [ready-made HTTP client](http_client) for logins |
//! | `jwt` | [`Expiry::from_jwt`] |
//! | `keyed` | [`AuthRefreshers`]: many identities behind one layer |
//! | `metrics` | counts and durations ([`observability`](guides::observability)) |
//! | `oauth2` | [logins with OAuth 2 grants](oauth2) |
//! | `oauth2-native-app` | [one-time logins of a person](oauth2::native_app) ([`command_line_tools`](guides::command_line_tools)) |
//! | `replay-buffered` | [`ReplayBuffered`], for streaming bodies |
//! | `reqwest` | [reqwest's client](reqwest_client) below the layer and below logins |
//! | `reqwest-middleware` | the layer as a middleware of `reqwest-middleware` |
//! | `serde` | `Serialize` for [`Status`], [`State`] and [`Expiry`] |
//! | `shared` | [one token for many processes](shared) ([`many_processes`](guides::many_processes)) |
//! | `shared-file` | [a store in a directory](shared::FileTokenStore), for processes of one user on one machine |
//! | `shared-redis` | [a store in Redis](shared::RedisTokenStore), for processes on several machines |
//! | `test-util` | [utilities](test_util) for tests |
//! | `token-command` | the token that a command prints ([`sources`]) |
//! | `token-file` | the token in a file that another process updates, such as Kubernetes ([`sources`]) |
//! | `tonic-0_14` | [`Error`] and [`LoginError`] as a `tonic::Status` |
//! | `tracing` | events, and a span of each login ([`observability`](guides::observability)) |
//!
//! Without features, the crate is the layer, the refresher and the contract of a login service.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::indexing_slicing))]
// Without a feature, links to it do not resolve. With all features, every link is checked.
#![cfg_attr(
    not(all(
        feature = "arthur",
        feature = "http-client",
        feature = "jwt",
        feature = "keyed",
        feature = "oauth2",
        feature = "oauth2-native-app",
        feature = "replay-buffered",
        feature = "reqwest-middleware",
        feature = "shared",
        feature = "shared-file",
        feature = "shared-redis",
        feature = "test-util",
        feature = "token-command",
        feature = "token-file"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

mod authorize;
mod clock;
mod error;
mod expiry;
#[cfg(any(feature = "oauth2", feature = "token-command"))]
mod json;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "keyed")]
mod keyed;
mod login;
mod loopback;
mod panic;
mod rate_limit;
mod refresh;
mod shard;
#[cfg(any(feature = "oauth2", feature = "shared"))]
mod store_future;
mod sync;
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
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest_client;
#[cfg(feature = "shared")]
#[cfg_attr(docsrs, doc(cfg(feature = "shared")))]
pub mod shared;
pub mod sources;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;
#[cfg(feature = "_transport")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "arthur", feature = "oauth2"))))]
#[cfg_attr(
    not(all(feature = "arthur", feature = "oauth2")),
    allow(dead_code, reason = "each login uses a part")
)]
pub mod transport;

pub use authorize::{
    AuthRefresh, AuthRefreshLayer, ClassifyRejection, DestinationPolicy, Error,
    GrpcUnauthenticatedAsRejection, IdentityPolicy, InvalidOrigin, NeverReject, NeverReplay,
    Origin, ReplayClone, ReplayPolicy, ReplayWith, ResponseFuture, SingleIdentity, TokenInfo,
    TokenValidFor, UnauthorizedAsRejection, UnsafeDestination,
};
#[cfg(feature = "replay-buffered")]
#[cfg_attr(docsrs, doc(cfg(feature = "replay-buffered")))]
pub use authorize::{BufferedBody, MapBody, ReplayBuffered};
#[cfg(feature = "keyed")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyed")))]
pub use authorize::{KeyFromExtensions, KeyFromFn, KeySource, KeyedIdentity};
pub use clock::{Clock, SystemClock};
pub use error::BoxError;
pub use expiry::Expiry;
#[cfg(feature = "keyed")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyed")))]
pub use keyed::{AuthRefreshers, AuthRefreshersBuilder, KeyError};
pub use login::{LoginError, LoginFn, LoginReason, LoginRequest, login_fn};
pub use refresh::{
    AuthRefresher, AuthRefresherBuilder, InvalidSetting, NoTokenPolicy, Refreshed, State, Status,
    StatusClosed, StatusReceiver, WeakAuthRefresher,
};
pub use token::{AccessToken, InvalidToken};

/// Compiles the README's code.
#[cfg(all(
    doctest,
    feature = "http-client",
    feature = "oauth2",
    feature = "replay-buffered",
    feature = "reqwest",
    feature = "test-util",
    feature = "tonic-0_14",
))]
#[doc = include_str!("../README.md")]
struct Readme;
