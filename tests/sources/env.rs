//! `EnvToken`.

use std::env;

use tower_auth_refresh::{Expiry, sources::EnvToken};

use crate::support::log_in;

#[tokio::test]
async fn variable_holds_a_token_that_never_expires() {
    // Cargo sets it.
    let token = log_in(EnvToken::new("CARGO_PKG_NAME")).await.unwrap();
    assert_eq!((token.secret(), token.expiry()), ("tower-auth-refresh", Expiry::Never));
}

#[tokio::test]
async fn missing_variable_is_a_permanent_error_that_names_it() {
    let error = log_in(EnvToken::new("NO_SUCH_VARIABLE")).await.unwrap_err();
    assert!(error.is_permanent());
    assert!(
        format!("{error:?}").contains("environment variable NO_SUCH_VARIABLE is not set"),
        "{error:?}"
    );
}

#[tokio::test]
async fn invalid_variable_is_an_error_that_does_not_show_it() {
    // Cargo sets it to a text with spaces, which no bearer token has.
    let (name, value) = ("CARGO_PKG_DESCRIPTION", env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(env::var(name).unwrap(), value);
    let error = log_in(EnvToken::new(name)).await.unwrap_err();
    let message = format!("{error:?}");
    assert!(
        error.is_permanent() && message.contains(name) && !message.contains(value),
        "{message}"
    );
}
