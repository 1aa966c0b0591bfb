//! Tests of reqwest's client below the layer and below a login, and of the layer as a middleware.
#![cfg(feature = "reqwest")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod redirects;
mod server;
mod service;

#[cfg(feature = "oauth2")]
mod logins;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
