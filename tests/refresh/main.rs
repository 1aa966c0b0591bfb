//! Tests of the refresher: logins, failures, clocks, runtimes and telemetry.

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
mod simulation;
mod undriven_runtimes;
mod user_code;
mod withdrawn_token;
