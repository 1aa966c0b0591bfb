//! Whether and how a rejected request is replayed.

#[cfg(feature = "replay-buffered")]
pub(crate) mod buffered;
#[cfg(feature = "replay-buffered")]
pub(crate) mod buffered_body;
#[cfg(feature = "replay-buffered")]
pub(crate) mod map_body;
pub(crate) mod policy;
#[cfg(feature = "replay-buffered")]
mod recording;
#[cfg(feature = "replay-buffered")]
mod replay_buffer;
#[cfg(feature = "replay-buffered")]
mod replay_state;
pub(crate) mod saved_request;
pub(crate) mod with;
