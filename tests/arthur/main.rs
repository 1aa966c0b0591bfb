//! Tests of the Arthur logins and helper services, against real servers.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(all(feature = "arthur", feature = "http-client"))]

#[path = "../../examples/src/arthur_server/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "these tests use a part of the examples' server")]
mod arthur_server;
#[path = "../../examples/src/arthur_server_tls.rs"]
#[allow(unreachable_pub, reason = "a module of the examples' library")]
mod arthur_server_tls;
#[path = "../support/arthur.rs"]
mod support;

mod base_url;
mod organization;
mod refresher;
mod secrets;
mod transport;
mod user_login;
