//! Tests of `test_util::check_token_store`: stores of several shapes pass it, and it detects broken ones.
#![cfg(feature = "shared")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod broken;
mod object_store;
mod ready_made;
mod sql;

use std::time::Duration;

use tokio::time::Instant;

/// An expiry as stores calculate it. One that does not exist is far away.
fn after(now: Instant, time_to_live: Duration) -> Instant {
    let decades = Duration::from_secs(1_000_000_000);
    now + time_to_live.min(decades)
}
