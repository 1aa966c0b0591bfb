//! Tests of the token sources.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(all(feature = "token-file", feature = "token-command"))]

#[cfg(unix)]
mod command;
#[cfg(unix)]
mod command_format;
mod env;
mod file;
mod file_watch;
mod layers;
mod static_token;
mod support;
