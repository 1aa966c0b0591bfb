//! Tests of reqwest's client below the layer and below a login, and of the layer as a middleware.
#![cfg(feature = "reqwest")]

mod redirects;
mod server;
mod service;

#[cfg(feature = "oauth2")]
mod logins;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
