//! Tests of the OAuth 2 logins.
#![cfg(feature = "oauth2")]

mod grants;
#[cfg(feature = "http-client")]
mod oidc_provider;
