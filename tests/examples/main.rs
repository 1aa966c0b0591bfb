//! Tests of the examples.

#[path = "../../examples/server/mod.rs"]
mod server;

mod command_line;
mod reverse_proxy;
mod runs;
