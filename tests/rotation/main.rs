//! Processes that share the session of a refresh token that rotates, and are killed. npm's `oidc-provider` counts the tokens
//! that it receives twice, and revokes their sessions.
//!
//! Without node, the tests are skipped. The long runs take some minutes each, and print what happened:
//!
//! ```sh
//! cargo test --locked --all-features --test rotation -- --ignored --nocapture --test-threads 1
//! ```
#![cfg(all(feature = "http-client", feature = "oauth2", feature = "shared-file"))]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod fleet;
#[path = "../support/oidc_provider.rs"]
mod oidc_provider;
mod plan;
mod process;
#[cfg(feature = "shared-redis")]
#[path = "../shared_redis/server.rs"]
#[allow(dead_code, reason = "the other tests of Redis use the rest")]
mod redis_server;
mod report;

use std::path::PathBuf;

use fleet::Fleet;
use plan::Plan;
use report::Report;

/// A path for a directory, which is removed on drop.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rotation-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn url(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns `None` if there is no node.
fn run(store: &str, plan: Plan) -> Option<Report> {
    let report = Fleet::start(store, plan)?.run();
    println!("{report}");
    Some(report)
}

#[test]
fn killed_processes_use_no_refresh_token_twice() {
    let directory = TempDir::new("short");
    let Some(report) = run(directory.url(), Plan::short()) else { return };
    report.assert_one_use_of_each_token(60);
    // One process is killed before its request, another one between the response and the save.
    assert_eq!(report.persons_logins, 2, "{report}");
}

/// The other tests are of no use if this does not fail.
#[test]
fn token_that_is_sent_again_is_counted() {
    let directory = TempDir::new("resend");
    let plan = Plan { resend_interrupted: true, ..Plan::short() };
    let Some(report) = run(directory.url(), plan) else { return };
    assert!(report.reused >= 1 && report.revoked_sessions >= 1, "{report}");
    assert!(report.failures.iter().any(|text| text.contains("invalid_grant")), "{report}");
}

#[test]
#[ignore = "runs for minutes: the command is at the top of this file"]
fn kill_each_second_causes_no_reuse_with_files() {
    let directory = TempDir::new("long");
    let Some(report) = run(directory.url(), Plan::long()) else { return };
    report.assert_one_use_of_each_token(1000);
}

#[cfg(feature = "shared-redis")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for minutes, and needs redis-server: the command is at the top of this file"]
async fn kill_each_second_causes_no_reuse_with_redis() {
    let redis = redis_server::Server::start().await;
    let url = redis.url.clone();
    let report = tokio::task::spawn_blocking(move || run(&url, Plan::long())).await.unwrap();
    let Some(report) = report else { return };
    report.assert_one_use_of_each_token(1000);
}
