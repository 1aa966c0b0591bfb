//! Runs the examples.
#![allow(
    clippy::duplicate_mod,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each example is a program"
)]

use std::{env, time::Duration};

#[path = "../cli_login/main.rs"]
mod cli_login;
#[path = "../custom_login.rs"]
mod custom_login;
#[path = "../fleet/main.rs"]
mod fleet;
#[path = "../hyper_client.rs"]
mod hyper_client;
#[path = "../hyper_pool.rs"]
mod hyper_pool;
#[path = "../multi_tenant/main.rs"]
mod multi_tenant;
#[path = "../oauth2_login.rs"]
mod oauth2_login;
#[path = "../reqwest_client.rs"]
mod reqwest_client;
#[path = "../reverse_proxy/main.rs"]
mod reverse_proxy;
#[cfg(unix)]
#[path = "../token_sources.rs"]
mod token_sources;
#[path = "../tonic_client.rs"]
mod tonic_client;

#[tokio::test]
async fn cli_login_needs_a_person_once() {
    let expected = cli_login::Recorded {
        approvals: 2,
        calls: vec![http::StatusCode::OK; 4],
        login_required: [true; 2],
    };
    assert_eq!(cli_login::run().await.unwrap(), expected);
}

#[tokio::test]
async fn custom_login_retries_and_reports_failure() {
    custom_login::run(Duration::from_secs(2)).await.unwrap();
}

#[tokio::test]
async fn hyper_client_survives_refreshes_and_revocation() {
    let report = hyper_client::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.requests > 0 && report.logins >= 3, "{report:?}");
}

#[tokio::test]
async fn hyper_pool_keeps_connection_through_revocation() {
    let (report, connections) = hyper_pool::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!((report.failed, connections), (0, 1), "{report:?}");
    assert!(report.requests > 0 && report.logins >= 3, "{report:?}");
}

#[tokio::test]
async fn multi_tenant_service_mixes_up_no_tokens() {
    let report = multi_tenant::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!((report.failed, report.mixed_up), (0, 0), "{report:?}");
    assert!(report.requests > 0 && report.most_logins_at_once <= 8, "{report:?}");
    assert!(report.tenants == 40 && report.logins >= 40 + 2, "{report:?}");
}

#[tokio::test]
async fn reqwest_client_survives_revocation_and_uploads() {
    let (report, upload_is_equal) = reqwest_client::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.requests > 0 && report.logins >= 3 && upload_is_equal, "{report:?}");
}

#[tokio::test]
async fn tonic_channel_survives_revocation_and_keeps_stream() {
    let (report, messages) = tonic_client::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.requests > 0 && report.logins >= 3 && messages > 1, "{report:?}");
}

#[tokio::test]
async fn reverse_proxy_sets_token_and_completes_response() {
    let (report, upload_is_equal) =
        reverse_proxy::run_against_local_server(Duration::from_secs(3)).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.requests > 0 && report.logins >= 2 && upload_is_equal, "{report:?}");
}

#[tokio::test]
async fn oauth2_login_survives_revocation_and_rotates() {
    let (report, rotations) = oauth2_login::run(Duration::from_secs(8)).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.requests > 0 && rotations >= 2, "{report:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn token_sources_survive_refreshes_and_revocation() {
    let report = token_sources::run(Duration::from_secs(8)).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.requests > 0, "{report:?}");
}

/// The processes are instances of the example, which Cargo builds for all tests of the package.
#[tokio::test]
async fn fleet_shares_token_in_directory() {
    let program = env::current_exe().unwrap().parent().unwrap().join("../examples/fleet");
    if !program.exists() {
        eprintln!("skipped: {} does not exist", program.display());
        return;
    }
    let plan = fleet::Plan {
        processes: 4,
        duration: Duration::from_secs(8),
        file: true,
        kill: true,
        ..fleet::Plan::default()
    };
    let recorded = fleet::run(&program, plan).await.unwrap();
    let (requests, failed) = recorded.requests();
    assert_eq!(failed, 0, "{recorded:?}");
    assert!(requests > 0 && recorded.logins >= 2, "{recorded:?}");
}
