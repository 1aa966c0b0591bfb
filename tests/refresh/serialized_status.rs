//! The serialized form of a status.

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::{json, to_value};
use tokio::time::sleep;
use tower_auth_refresh::{Expiry, LoginError, State};

use crate::support::{HOUR, MockLogin, secs, token};

/// The time at which a test clock starts.
const START: u64 = 1_800_000_000;

#[tokio::test(start_paused = true)]
async fn status_serializes_as_documented() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        match n {
            1 => token(n, HOUR),
            _ => Err(LoginError::permanent(std::io::Error::other("issuer unavailable")).into()),
        }
    });
    let idle = json!({
        "state": "idle",
        "issued_at": null,
        "expires": null,
        "generation": 0,
        "consecutive_failures": 0,
        "last_error": null,
    });
    assert_eq!(to_value(refresher.status()).unwrap(), idle);

    refresher.ready().await.unwrap();
    sleep(secs(3301)).await;
    let failing = to_value(refresher.status()).unwrap();
    let message = failing["last_error"]["message"].as_str().unwrap();
    assert!(message.ends_with(": issuer unavailable"), "{message}");
    let expected = json!({
        "state": "ready",
        "issued_at": START,
        "expires": { "at": START + 3600 },
        "generation": 1,
        "consecutive_failures": 1,
        "last_error": { "permanent": true, "message": message },
    });
    assert_eq!(failing, expected);
    assert!(!failing.to_string().contains("t1"));
}

/// An error that is its own cause.
#[derive(Debug)]
struct EndlessError;

impl fmt::Display for EndlessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endless")
    }
}

impl Error for EndlessError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[tokio::test(start_paused = true)]
async fn endless_chain_of_causes_is_cut_off() {
    let refresher = MockLogin::default().refresher(|_| async { Err(EndlessError.into()) });
    let error = refresher.token().await.unwrap_err();
    assert!(LoginError::find(&EndlessError).is_none());
    assert!(LoginError::find(&error).is_some());
    let status = to_value(refresher.status()).unwrap();
    let message = status["last_error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("login failed: endless: endless") && message.len() < 1000,
        "{message}"
    );
}

#[test]
fn state_serializes_as_snake_case() {
    for (state, name) in [
        (State::Idle, "idle"),
        (State::LoggingIn, "logging_in"),
        (State::Ready, "ready"),
        (State::Refreshing, "refreshing"),
        (State::Stale, "stale"),
        (State::Failed, "failed"),
        (State::ShutDown, "shut_down"),
    ] {
        assert_eq!(to_value(state).unwrap(), name);
    }
}

#[test]
fn expiry_serializes_in_whole_seconds() {
    let half = Duration::from_millis(500);
    for (expiry, expected) in [
        (Expiry::In(secs(60) + half), json!({ "in": 60 })),
        (Expiry::At(SystemTime::UNIX_EPOCH + secs(START) + half), json!({ "at": START })),
        (Expiry::At(SystemTime::UNIX_EPOCH - secs(60)), json!({ "at": 0 })),
        (Expiry::Never, json!("never")),
        (Expiry::Unknown, json!("unknown")),
    ] {
        assert_eq!(to_value(expiry).unwrap(), expected);
    }
}
