//! Tests of the examples and of their servers.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod arguments;
mod arthur_server;
mod reverse_proxy;
mod runs;
