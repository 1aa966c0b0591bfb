//! The helper endpoints of the Arthur API, each a tower service over any HTTP service.
//!
//! ```text
//! BaseUrl ─┐
//!          ├─▶ ArthurApi ─▶ UserLogin ─────────────────▶ ArthurLogin (+ Credentials): a login service
//! HTTP ────┘           ├──▶ GetAuthInfo
//! service              ├──▶ GetArthurInternalUserOrg
//!                      └──▶ GetCurrentOrg
//! ```
//!
//! [`ArthurApi`] has the base URL and the limits of a request. The HTTP service is
//! [`HttpClient`](crate::http_client::HttpClient), or any other [`HttpService`](crate::transport::HttpService). It must
//! not follow redirects to another origin, because the body of a login contains a password. A redirect that it returns
//! is an error.
//!
//! All services are always ready, because each call makes a clone of the HTTP service ready. Dropping a future cancels
//! its request. The futures require a tokio runtime with the time driver enabled.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, header::SET_COOKIE};
//! use http_body_util::Full;
//! use tower::{BoxError, ServiceExt, service_fn};
//! use tower_auth_refresh::arthur::{ArthurApi, BaseUrl, Credentials, UserLogin};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let http = service_fn(|request: Request<Full<Bytes>>| async move {
//!     assert_eq!(request.uri(), "https://arthur.example/api/v3/login");
//!     Response::builder()
//!         .header(SET_COOKIE, "Authorization=s3cr3t; HttpOnly; Secure")
//!         .body(Full::<Bytes>::default())
//! });
//! let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http);
//! let login = UserLogin::new(api).oneshot(Credentials::new("jo@example.com", "swordfish")).await?;
//! assert_eq!(login.token.header_value(), "s3cr3t");
//! # Ok(())
//! # }
//! ```
//!
//! From the credentials to a client whose requests carry the token:
//!
#![cfg_attr(feature = "http-client", doc = "```no_run")]
#![cfg_attr(not(feature = "http-client"), doc = "```ignore")]
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//! use tower_auth_refresh::{
//!     AuthRefreshLayer, AuthRefresher,
//!     arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, UserLogin},
//!     http_client::HttpClient,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let http = HttpClient::builder().build()?;
//! let api = ArthurApi::new(BaseUrl::parse("arthur.example")?, http.clone());
//! let credentials = Credentials::new("jo@example.com", std::env::var("ARTHUR_PASSWORD")?);
//! let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), credentials));
//!
//! // The same client, or any other. Its requests wait for the first token only.
//! let client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher)).service(http);
//! let request = Request::get("https://arthur.example/api/v3/users/me").body(Full::<Bytes>::default())?;
//! println!("{}", client.oneshot(request).await?.status());
//! # Ok(())
//! # }
//! ```

mod api;
mod base_url;
mod cookie;
mod credentials;
mod error;
mod get_arthur_internal_user_org;
mod get_auth_info;
mod get_current_org;
mod login;
mod models;
#[cfg(feature = "arthur-jwt-verify")]
mod signature;
mod user_login;

pub use api::ArthurApi;
pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use credentials::Credentials;
pub use error::ArthurError;
pub use get_arthur_internal_user_org::GetArthurInternalUserOrg;
pub use get_auth_info::GetAuthInfo;
pub use get_current_org::GetCurrentOrg;
pub use login::ArthurLogin;
pub use models::{AuthenticationInfo, User, UserContext, UserResponse};
#[cfg(feature = "arthur-jwt-verify")]
#[cfg_attr(docsrs, doc(cfg(feature = "arthur-jwt-verify")))]
pub use signature::VerificationKey;
pub use user_login::{LoggedIn, UserLogin};
