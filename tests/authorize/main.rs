//! Tests of the layer: headers, destinations, rejection and replay.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/lifecycle.rs"]
mod support;

mod allocations;
mod errors;
mod grpc;
mod header_cache;
mod layer;
mod origin;
mod rejection;
mod replay_buffered;
mod replay_policies;
mod replay_wire;
mod stack;
