//! What crates that put a *current, already fetched* access token on a request add to a call.
//!
//! Every peer is driven as its users drive it on each request, and holds a token of the same length that outlives the
//! run. A peer with a `tower` layer is laid around the same inner service as ours; around the others stand the few
//! lines that their users write. A peer with requests or a client of its own is compared with a call by these alone.
//!
//! `cargo run --release` measures, prints a table and draws `../overhead.svg`; `instructions.sh` counts instructions.

pub mod calls;
#[path = "../../common/mod.rs"]
mod common;
pub mod endpoint;
pub mod issuer;
pub mod keys;
pub mod peers;

pub use common::timing;
