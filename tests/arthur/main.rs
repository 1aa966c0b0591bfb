//! Tests of the Arthur logins and helper services, against real servers.
#![cfg(all(feature = "arthur", feature = "http-client"))]

#[path = "../../examples/server/mod.rs"]
mod server;
#[path = "../support/arthur.rs"]
mod support;

mod base_url;
mod example_server;
mod organization;
mod refresher;
mod secrets;
mod transport;
mod user_login;
