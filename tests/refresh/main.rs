//! Tests of the refresher: logins, failures, clocks, runtimes and telemetry.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[cfg(feature = "tracing")]
#[path = "../support/dispatch.rs"]
mod dispatch;
#[path = "../support/lifecycle.rs"]
mod support;

mod clocks;
mod frozen_process;
mod idle;
mod lifecycle;
mod login_failures;
mod metrics;
mod observability;
mod properties;
mod refresh_under_way;
mod reject;
mod runtimes;
#[cfg(feature = "serde")]
mod serialized_status;
mod simulation;
mod undriven_runtimes;
mod user_code;
mod withdrawn_token;
