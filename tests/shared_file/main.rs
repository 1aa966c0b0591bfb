//! Tests of the store in a directory, and of what is stored there. Some start this binary again as another process.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(feature = "shared-file")]

mod clock;
mod crash;
mod damage;
mod handles;
mod permissions;
mod process;
mod processes;
mod records;
#[cfg(feature = "oauth2")]
mod refresh_token;
#[cfg(feature = "oauth2")]
mod refresh_token_faults;
mod support;
