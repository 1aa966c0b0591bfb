//! Tests of the OAuth 2 logins.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(feature = "oauth2")]

mod client_authentication;
#[cfg(feature = "token-file")]
mod credential_file;
mod discovery;
#[cfg(feature = "http-client")]
mod discovery_sockets;
mod errors;
mod limits;
#[cfg(feature = "oauth2-native-app")]
mod native_app;
#[cfg(feature = "http-client")]
mod oidc_provider;
mod refresh_token;
mod refresh_token_store;
mod signing_key;
mod support;
mod token_request;
mod token_response;
