//! Tests of the OAuth 2 logins.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![cfg(feature = "oauth2")]

mod grants;
#[cfg(feature = "http-client")]
mod oidc_provider;
