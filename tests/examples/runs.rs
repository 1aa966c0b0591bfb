//! The examples end well.
#![allow(clippy::duplicate_mod, dead_code, missing_docs, unreachable_pub, reason = "they are programs of their own")]

use std::time::Duration;

#[path = "../../examples/custom_login.rs"]
mod custom_login;
#[path = "../../examples/hyper_client.rs"]
mod hyper_client;
#[path = "../../examples/hyper_pool.rs"]
mod hyper_pool;
#[cfg(feature = "oauth2")]
#[path = "../../examples/oauth2_login.rs"]
mod oauth2_login;
#[path = "../../examples/reqwest_client.rs"]
mod reqwest_client;
#[path = "../../examples/reverse_proxy/main.rs"]
mod reverse_proxy;
#[cfg(all(unix, feature = "token-command", feature = "token-file"))]
#[path = "../../examples/token_sources.rs"]
mod token_sources;
#[path = "../../examples/tonic_client.rs"]
mod tonic_client;

#[tokio::test]
async fn a_login_of_ones_own_is_tried_again_and_its_failure_told() {
    custom_login::run(Duration::from_secs(2)).await.unwrap();
}

#[tokio::test]
async fn hypers_client_gets_through_refreshes_and_a_revocation() {
    let outcome = hyper_client::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    assert!(outcome.requests > 0 && outcome.logins >= 3, "{outcome:?}");
}

#[tokio::test]
async fn a_pool_of_hyper_utils_parts_gets_through_refreshes_and_a_revocation_on_one_connection() {
    let (outcome, connections) = hyper_pool::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!((outcome.failed, connections), (0, 1), "{outcome:?}");
    assert!(outcome.requests > 0 && outcome.logins >= 3, "{outcome:?}");
}

#[tokio::test]
async fn reqwests_client_gets_through_refreshes_and_a_revocation_and_an_upload_comes_back() {
    let (outcome, upload_came_back) = reqwest_client::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    assert!(outcome.requests > 0 && outcome.logins >= 3 && upload_came_back, "{outcome:?}");
}

#[tokio::test]
async fn a_tonic_channel_gets_through_refreshes_and_a_revocation_and_its_stream_goes_on() {
    let (outcome, messages) = tonic_client::run(Duration::from_secs(3)).await.unwrap();
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    assert!(outcome.requests > 0 && outcome.logins >= 3 && messages > 1, "{outcome:?}");
}

#[tokio::test]
async fn a_proxy_puts_the_token_on_what_it_forwards_and_ends_with_its_last_answer() {
    let (outcome, upload_came_back) = reverse_proxy::show(Duration::from_secs(3)).await.unwrap();
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    assert!(outcome.requests > 0 && outcome.logins >= 2 && upload_came_back, "{outcome:?}");
}

#[cfg(feature = "oauth2")]
#[tokio::test]
async fn a_client_of_oauth_2_gets_through_refreshes_and_a_revocation_and_its_refresh_token_rotates() {
    let (outcome, rotations) = oauth2_login::run(Duration::from_secs(8)).await.unwrap();
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    assert!(outcome.requests > 0 && rotations >= 2, "{outcome:?}");
}

#[cfg(all(unix, feature = "token-command", feature = "token-file"))]
#[tokio::test]
async fn a_file_that_is_replaced_and_a_command_that_prints_it_bring_tokens_in_time() {
    let outcome = token_sources::run(Duration::from_secs(8)).await.unwrap();
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    assert!(outcome.requests > 0, "{outcome:?}");
}
