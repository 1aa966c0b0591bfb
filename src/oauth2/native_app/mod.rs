//! Logins of a person, for programs on the person's machine: command line tools and other native apps.
//!
//! A person logs in once. The result contains a [refresh token](Tokens::refresh_token), which the program saves. Each
//! later login only refreshes: it is a [grant with a store](super::Grant::refresh_token_store), and needs no person.
//!
//! ```text
//! once:   AuthorizationCodeLogin or DeviceLogin ─▶ a person approves ─▶ Tokens ─▶ RefreshTokenStore
//! later:  RefreshTokenStore ─▶ Grant::refresh_token_store ─▶ OAuth2Login ─▶ AuthRefresher
//! ```
//!
//! | the person has | use | standards |
//! | --- | --- | --- |
//! | a browser on this machine | [`AuthorizationCodeLogin`] | RFC 6749, section 4.1; RFC 7636 (PKCE); RFC 8252; RFC 9207 |
//! | a browser on another device, as in an SSH session | [`DeviceLogin`] | RFC 8628 |
//!
//! The first is safer: with a device login, a person can be tricked into approving the login of an attacker (RFC 8628,
//! section 5.4). Many organizations forbid it.
//!
#![cfg_attr(all(feature = "http-client", feature = "shared-file"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "http-client", feature = "shared-file")), doc = "```ignore")]
//! use tower_auth_refresh::{
//!     AuthRefreshLayer,
//!     http_client::HttpClient,
//!     oauth2::{
//!         AuthorizationServer, ClientAuthentication, Grant, OAuth2Login,
//!         native_app::AuthorizationCodeLogin,
//!     },
//!     shared::{FileTokenStore, SharedRefreshTokenStore, TokenIdentity},
//! };
//!
//! # use tower::BoxError;
//! const ISSUER: &str = "https://login.example.com";
//!
//! fn store() -> Option<SharedRefreshTokenStore> {
//!     let directory = std::env::home_dir()?.join(".local/state/orders/tokens");
//!     let identity = TokenIdentity::new(ISSUER, "orders-cli", "refresh_token");
//!     Some(SharedRefreshTokenStore::danger_unsealed(FileTokenStore::new(directory), identity))
//! }
//!
//! /// `orders login`
//! async fn log_in(store: SharedRefreshTokenStore) -> Result<(), BoxError> {
//!     let http = HttpClient::builder().build()?;
//!     let (server, client) =
//!         (AuthorizationServer::discover(ISSUER)?, ClientAuthentication::public("orders-cli"));
//!     let login = AuthorizationCodeLogin::new(http, server, client)
//!         .scope("openid offline_access")
//!         .parameter("prompt", "consent");
//!     let request = login.start().await?;
//!     println!("Open this page to log in: {}", request.url());
//!     Ok(request.wait().await?.save_to(&store).await?)
//! }
//!
//! /// Every other command. Without a login, it fails with "login required".
//! fn layer(store: SharedRefreshTokenStore) -> Result<AuthRefreshLayer, BoxError> {
//!     let http = HttpClient::builder().build()?;
//!     let (server, client) =
//!         (AuthorizationServer::discover(ISSUER)?, ClientAuthentication::public("orders-cli"));
//!     let grant = Grant::refresh_token_store(store);
//!     Ok(AuthRefreshLayer::with_login(OAuth2Login::new(http, server, client, grant)))
//! }
//! ```
//!
//! A program without a person, such as a service, never prompts. If its store is empty or the server has revoked the
//! session, its login fails with a permanent error: [`OAuth2Error::is_login_required`](super::OAuth2Error::is_login_required).
//!
//! # Security
//!
//! - Each login has its own `state` and code verifier, of 256 random bits each. The listener ignores a redirect with
//!   another `state` (RFC 6749, section 10.12). A server that supports PKCE rejects a code without the verifier (RFC
//!   7636).
//! - The URL that a person opens contains the `state`. Do not pass it on a command line on a machine with several users:
//!   see [`AuthorizationRequest::url`].
//! - A redirect that names another issuer fails, and so does one without an issuer if the metadata announces it (RFC
//!   9207). The issuer is not known if the server was created from its token endpoint.
//! - The listener accepts connections from the loopback only, limits their number, time and size, and closes with the
//!   first redirect.
//! - What a server chooses and a person sees, such as the code and the page of a device login, contains printable ASCII
//!   characters only. Pages are `https`, or on the loopback.
//! - No error, `Debug` output or page contains a code, a `state`, a verifier or a token.

// In reading order. What a login starts with: `endpoints`, and `client`, which sends the requests. What it ends with:
// `tokens`, or an error (`error_kind`), within a `time_limit`. In a browser: `secrets`, `redirect_uri`, `redirect`,
// `page`, `listener`, `authorization_request` and `authorization_code_login`. On another device: `device_response`,
// `poll_interval`, `device_authorization` and `device_login`.
mod authorization_code_login;
mod authorization_request;
mod client;
mod device_authorization;
mod device_login;
mod device_response;
mod endpoints;
mod error_kind;
mod listener;
mod page;
mod poll_interval;
mod redirect;
mod redirect_uri;
mod secrets;
mod time_limit;
mod tokens;

pub(super) use self::error_kind::NativeAppErrorKind;
pub use self::{
    authorization_code_login::AuthorizationCodeLogin, authorization_request::AuthorizationRequest,
    device_authorization::DeviceAuthorization, device_login::DeviceLogin,
    redirect_uri::InvalidRedirectUri, tokens::Tokens,
};
