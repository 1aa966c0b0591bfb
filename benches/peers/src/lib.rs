//! Measures the overhead of crates that set a *current, already fetched* access token on a request.
//!
//! Each peer is called as its users call it for each request. All tokens have the same length and outlive the run. A
//! peer with a `tower` layer wraps the same inner service as this crate. The others are wrapped in the code that their
//! users write. A peer with its own request type or client is compared with a bare call of that client.
//!
//! `cargo run --release` measures, prints a table and draws `../overhead.svg`; `instructions.sh` counts instructions. With
//! the argument `keyed`, both compare the crates that select a token by a key, and the chart is `../keyed.svg`.

pub mod calls;
#[path = "../../common/mod.rs"]
mod common;
pub mod endpoint;
pub mod issuer;
pub mod key_draws;
pub mod keys;
pub mod peers;

pub use common::timing;
