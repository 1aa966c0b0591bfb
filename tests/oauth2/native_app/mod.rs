//! One-time logins of a person.

mod authorization_code;
mod browser;
#[cfg(feature = "http-client")]
mod certified_server;
mod device;
mod listener;
mod metadata;
mod tokens;
