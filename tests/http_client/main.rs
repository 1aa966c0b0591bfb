//! Tests of the ready-made HTTP client, against real servers. Most of its requests are those of a login.
#![cfg(all(feature = "arthur", feature = "http-client"))]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/arthur.rs"]
mod support;

mod connection;
mod http2;
mod proxy;
mod redirect;
mod relay;
mod servers;
#[cfg(feature = "oauth2")]
mod soak;
mod tls;
