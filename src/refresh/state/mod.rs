//! [`RefreshState`](refresh_state::RefreshState): everything known about one identity's token and login, and the next
//! action.
//!
//! The state is pure. Events and times go in, actions come out. It reads no clock, draws no random number, spawns
//! nothing, sends nothing and runs no user code, so each event is one short critical section.
//! [`Shared`](super::shared::Shared) locks the state, reports the event, and performs the actions after it has released
//! the lock.
//!
//! ```text
//!                       a call
//!        ┌───────────┐ ────────▶ ┌─────────┐  login allowed and due   ┌────────────┐
//!  start │ No worker │           │ Waiting │ ───────────────────────▶ │ Logging in │
//!        └───────────┘ ◀──────── └─────────┘ ◀─────────────────────── └────────────┘
//!              ▲        idle                    login finished              │
//!              └────────────────────────────────────────────────────────────┘
//!                  the worker's task ended; the token and the pauses remain
//! ```
//!
//! The token changes independently: [`TokenState`](token::TokenState) has its transitions. Everything else that is
//! visible is derived from the state, and not stored in it: what is in the cell
//! ([`cell`](refresh_state::RefreshState::cell)), the status, the gauge.
//!
//! In reading order: `active_worker`, `actions`; `token`, `login`, `usage` (the parts); `refresh_state` (the whole);
//! `caller_events` and `worker_events` (the transitions); `view` (what is derived).

pub(crate) mod actions;
pub(crate) mod active_worker;
pub(crate) mod caller_events;
mod login;
pub(crate) mod refresh_state;
mod token;
mod usage;
pub(crate) mod view;
pub(crate) mod worker_events;
