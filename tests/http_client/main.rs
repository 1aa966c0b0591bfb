//! Tests of the ready-made HTTP client.
#![cfg(feature = "http-client")]

mod proxy;
mod servers;
