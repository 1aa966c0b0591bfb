//! Tests of the examples and of their servers.

mod arguments;
mod arthur_server;
mod reverse_proxy;
mod runs;
