//! Whether and how a rejected request is replayed.

#[cfg(feature = "replay-buffered")]
pub(crate) mod buffered;
pub(crate) mod policy;
#[cfg(feature = "replay-buffered")]
mod recording;
pub(crate) mod saved_request;
