//! `?` converts the crate's errors into the error types that programs use, and the login's cause is found in each.

use std::time::Duration;

use http::{Request, Response};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, Error, LoginError, login_fn};

use crate::support::{chain, request};

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("order not placed")]
    Call(#[from] Error),
    #[error("not logged in")]
    Login(#[from] LoginError),
}

fn refresher() -> AuthRefresher {
    AuthRefresher::new(login_fn(|_| async { Err(LoginError::permanent("invalid_client").into()) }))
}

async fn call() -> Result<Response<()>, Error> {
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher()))
        .service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
    client.oneshot(request()).await
}

/// Checks that the chain ends with the login's cause, and that the login's error is found in it.
fn assert_found(error: &(dyn std::error::Error + 'static), outer: &[&str]) {
    let messages = chain(error);
    let (rest, login) = messages.split_at(messages.len() - 3);
    assert_eq!(login, ["login failed", "permanent failure", "invalid_client"]);
    assert_eq!(rest, outer);
    assert!(LoginError::find(error).is_some_and(LoginError::is_permanent));
}

const CALL: &str = "no access token available";

#[tokio::test]
async fn anyhow_error_contains_the_login_error() {
    use anyhow::Context;

    async fn log_in() -> anyhow::Result<()> {
        refresher().ready().await?;
        Ok(())
    }
    async fn place_order() -> anyhow::Result<()> {
        call().await.context("order not placed")?;
        Ok(())
    }
    let error = log_in().await.unwrap_err();
    assert!(error.downcast_ref::<LoginError>().is_some());
    assert_found(error.as_ref(), &[]);
    let error = place_order().await.unwrap_err();
    assert!(error.downcast_ref::<Error>().is_some());
    assert_found(error.as_ref(), &["order not placed", CALL]);
    assert_eq!(
        format!("{error:#}"),
        "order not placed: no access token available: login failed: permanent failure: invalid_client"
    );
}

#[tokio::test]
async fn eyre_error_contains_the_login_error() {
    use eyre::WrapErr;

    async fn log_in() -> eyre::Result<()> {
        refresher().ready().await?;
        Ok(())
    }
    async fn place_order() -> eyre::Result<()> {
        call().await.wrap_err("order not placed")?;
        Ok(())
    }
    let error = log_in().await.unwrap_err();
    assert!(error.downcast_ref::<LoginError>().is_some());
    assert_found(error.as_ref(), &[]);
    let error = place_order().await.unwrap_err();
    assert_found(error.as_ref(), &["order not placed", CALL]);
}

#[tokio::test]
async fn boxed_error_contains_the_login_error() {
    async fn log_in() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        refresher().ready().await?;
        Ok(())
    }
    async fn place_order() -> Result<(), Box<dyn std::error::Error>> {
        call().await?;
        Ok(())
    }
    let error = log_in().await.unwrap_err();
    assert!(error.downcast_ref::<LoginError>().is_some());
    assert_found(&*error, &[]);
    assert_found(&*place_order().await.unwrap_err(), &[CALL]);
}

#[tokio::test]
async fn error_enum_contains_the_login_error() {
    async fn log_in() -> Result<(), AppError> {
        refresher().ready().await?;
        Ok(())
    }
    async fn place_order() -> Result<(), AppError> {
        call().await?;
        Ok(())
    }
    assert_found(&log_in().await.unwrap_err(), &["not logged in"]);
    assert_found(&place_order().await.unwrap_err(), &["order not placed", CALL]);
}

/// A stack whose layers box their errors has one more type between the program and the layer's error.
#[tokio::test]
async fn error_of_boxed_stack_contains_the_login_error() {
    let client = ServiceBuilder::new()
        .timeout(std::time::Duration::from_secs(60))
        .layer(AuthRefreshLayer::new(refresher()))
        .service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
    assert_found(&*client.oneshot(request()).await.unwrap_err(), &[CALL]);
    assert!(LoginError::find(&std::fmt::Error).is_none());
}

/// Returns the error of a refresher whose login fails with this error.
async fn login_error(error: impl Fn() -> BoxError + Send + 'static) -> LoginError {
    let refresher = AuthRefresher::new(login_fn(move |_| std::future::ready(Err(error()))));
    refresher.ready().await.unwrap_err()
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Transparent(#[from] LoginError);

#[tokio::test]
async fn permanent_error_inside_a_wrapper_is_recognized() {
    let wrong_password = || LoginError::permanent("wrong password");
    let anyhow = login_error(move || anyhow::Error::from(wrong_password()).into()).await;
    let eyre = login_error(move || eyre::Report::from(wrong_password()).into()).await;
    let transparent = login_error(move || Transparent::from(wrong_password()).into()).await;
    let context =
        login_error(move || anyhow::Error::from(wrong_password()).context("no").into()).await;
    let io = login_error(move || std::io::Error::other(wrong_password()).into()).await;
    for error in [anyhow, eyre, transparent, context, io] {
        assert!(error.is_permanent(), "{error:?}");
    }
}

/// The source of an `io::Error` is not the error inside, but the source of that.
#[test]
fn login_error_inside_an_io_error_is_found() {
    let wrong_password = LoginError::permanent(std::io::Error::other(std::fmt::Error));
    assert!(wrong_password.cause::<std::fmt::Error>().is_some());
    let error = std::io::Error::other(wrong_password);
    assert!(LoginError::find(&error).is_some_and(LoginError::is_permanent));
    let nested = std::io::Error::other(error);
    assert!(LoginError::find(&nested).is_some_and(LoginError::is_permanent));
}

#[tokio::test]
async fn retry_after_inside_a_wrapper_is_followed() {
    let delay = Duration::from_secs(200);
    let busy = move || LoginError::transient("busy").with_retry_after(delay);
    for error in [
        login_error(move || anyhow::Error::from(busy()).into()).await,
        login_error(move || eyre::Report::from(busy()).into()).await,
        login_error(move || Transparent::from(busy()).into()).await,
    ] {
        assert_eq!((error.is_permanent(), error.retry_after()), (false, Some(delay)), "{error:?}");
    }
}

#[tokio::test]
async fn outer_error_decides_inside_every_wrapper() {
    let passes = || LoginError::transient(LoginError::permanent("locked for a minute"));
    for error in [
        login_error(move || passes().into()).await,
        login_error(move || anyhow::Error::from(passes()).context("not logged in").into()).await,
        login_error(move || anyhow::Error::from(passes()).into()).await,
        login_error(move || eyre::Report::from(passes()).into()).await,
        login_error(move || Transparent::from(passes()).into()).await,
    ] {
        assert!(!error.is_permanent(), "{error:?}");
    }
}

#[test]
fn cause_of_an_error_is_not_the_error_itself() {
    assert!(LoginError::transient("busy").cause::<LoginError>().is_none());
    let error = LoginError::transient(LoginError::permanent("locked"));
    assert!(error.cause::<LoginError>().is_some_and(LoginError::is_permanent));
}

#[test]
fn boxed_or_shared_login_error_is_found() {
    #[derive(Debug, thiserror::Error)]
    #[error("boxed")]
    struct Boxed(#[source] Box<LoginError>);
    #[derive(Debug, thiserror::Error)]
    #[error("shared")]
    struct Shared(#[source] std::sync::Arc<LoginError>);

    let error = LoginError::permanent("wrong password");
    assert!(LoginError::find(&Boxed(Box::new(error.clone()))).is_some());
    assert!(LoginError::find(&Shared(error.into())).is_some());
}

#[test]
fn retry_after_of_a_shared_error_repeats_no_text() {
    let error = LoginError::permanent("locked");
    let delayed = error.clone().with_retry_after(Duration::from_secs(7));
    let advice = "permanent failure, retry after 7s";
    assert_eq!(chain(&delayed), ["login failed", advice, "locked"]);
    assert_eq!(error.retry_after(), None);
}
