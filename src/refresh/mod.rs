//! Keeps one identity's token fresh, in one cell. Depends on no type of an HTTP request.
//!
//! In reading order, from pure to effects; each file imports only files before it:
//!
//! - `schedule` (pure): when to log in
//! - `login_line` (pure), `login_permits`: how many logins of several refreshers run at the same time
//! - `sharded_header`, `cached_token`: a token with its timeline and its header value
//! - `status`, `state` (pure): everything known, and what to do next. Start here.
//! - `current`, `token_id`, `registry`: the cell, and how a request in flight names its token
//! - `settings`, `core`, `shared`: the lock, the one function that reports an event, and the drop of the last handle
//! - `clock_task`, `worker`: the tasks
//! - `wait`, `status_receiver`, `handle`, `weak`, `builder`: what callers use
//!
//! Five rules of order:
//!
//! 1. **Under the lock** the state and the cell change, and the core is lent or returned. The clock is read before it.
//!    Everything else follows after it, in this order: the worker's wake-up, the gauge, the status, the telemetry, the
//!    drops. The gauge is written before the status wakes the waiters, so that they read it up to date
//!    ([`Shared::event`](shared::Shared::event)).
//! 2. **After the lock** the effects of two events can cross. The status has a revision, and the gauge is written until
//!    it agrees with the state.
//! 3. **A waiter** subscribes to the changes before its first poll ([`Shared::token`](shared::Shared::token)).
//! 4. **The cell**: a writer stores no epoch, then the token, then the new epoch. A reader loads the epoch, then the
//!    token ([`CurrentToken`](current::CurrentToken)).
//! 5. **References leave a registry's lock** before they are upgraded or dropped, because one can be the last
//!    ([`Registry`](registry::Registry), [`ClockRegistration`](clock_task::ClockRegistration)).

mod builder;
mod cached_token;
mod clock_task;
mod core;
mod current;
mod handle;
mod login_line;
mod login_permits;
#[cfg(all(test, loom_models))]
pub(crate) mod loom_models;
mod registry;
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

#[cfg(feature = "keyed")]
pub(crate) use self::{builder::MAX_DURATION, login_permits::LoginPermits};
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
    current::{Epoch, is_unexpired},
    shared::reject,
    token_id::TokenId,
    wait::TokenFuture,
};
