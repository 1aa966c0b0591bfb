//! Keeps one identity's token fresh, in one cell. Knows nothing of HTTP requests.
//!
//! In reading order, from pure to effects; each file imports only files before it:
//!
//! - `schedule`, `rejection_limit` (pure): when to log in, and how many rejections count
//! - `sharded_header`, `cached_token`: a token with its timeline and its header value
//! - `status`, `state` (pure): everything known, and what to do next. Start here.
//! - `current`, `token_id`, `registry`: the cell, and how a request in flight names its token
//! - `settings`, `core`, `shared`: the lock, and the one function that reports an event
//! - `clock_watch`, `worker`: the task
//! - `wait`, `status_receiver`, `weak`, `handle`, `builder`: what callers use
//!
//! Two rules of order hold everything together:
//!
//! 1. The cell is written under the state's lock only. After the lock follow, in this order: the worker's wake-up, the gauge,
//!    the status, the telemetry, the drops ([`Shared::event`](shared::Shared::event)).
//! 2. A writer of the cell stores no epoch, then the cell, then the new epoch. A reader loads the epoch, then the cell
//!    ([`CurrentToken`](current::CurrentToken)).

mod builder;
mod cached_token;
mod clock_watch;
mod core;
mod current;
mod handle;
mod registry;
mod rejection_limit;
mod schedule;
mod settings;
mod sharded_header;
mod shared;
mod state;
mod status;
mod status_receiver;
mod token_id;
mod wait;
mod weak;
mod worker;

pub use self::{
    builder::{AuthRefresherBuilder, InvalidSetting},
    handle::{AuthRefresher, Refreshed},
    settings::NoTokenPolicy,
    status::{State, Status},
    status_receiver::{StatusClosed, StatusReceiver},
    weak::WeakAuthRefresher,
};
pub(crate) use self::{
    cached_token::CachedToken,
    current::{Epoch, is_before},
    shared::reject,
    token_id::TokenId,
    wait::TokenFuture,
};
