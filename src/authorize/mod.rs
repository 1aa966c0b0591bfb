//! Puts the current token on each request. Reads the cell, and knows nothing of logins.
//!
//! In reading order: `layer`, `rules` and `placement` (what was asked for), `service` and `held` (the hot path), `future`
//! (until the response comes), `slow` and `sent` (the calls out of the ordinary); `destination`, `rejection`, `replay` and
//! `token_info` are one rule each.

#[cfg(feature = "replay-buffered")]
mod buffered;
mod destination;
mod future;
mod held;
mod layer;
mod placement;
mod rejection;
mod replay;
mod rules;
mod sent;
mod service;
mod slow;
mod token_info;

#[cfg(feature = "replay-buffered")]
pub use self::buffered::{BufferedBody, ReplayBuffered};
pub use self::{
    destination::{InvalidOrigin, UnsafeDestination},
    future::ResponseFuture,
    layer::AuthRefreshLayer,
    rejection::{ClassifyRejection, GrpcUnauthenticated, NeverRejected, Unauthorized},
    replay::{NeverReplay, ReplayClone, ReplayPolicy},
    service::AuthRefresh,
    token_info::{MinTokenLife, TokenInfo},
};
