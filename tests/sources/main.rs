//! Tests of the token sources.
#![cfg(all(feature = "token-file", feature = "token-command"))]

mod tokens;
