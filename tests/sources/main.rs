//! Tests of the token sources.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![cfg(all(feature = "token-file", feature = "token-command"))]

mod tokens;
