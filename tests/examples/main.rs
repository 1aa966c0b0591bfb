//! Tests of the examples.

#[path = "../../examples/server/mod.rs"]
mod server;

mod arguments;
mod reverse_proxy;
mod runs;
