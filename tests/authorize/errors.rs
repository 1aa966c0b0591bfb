//! `?` converts the crate's errors into the error types that programs use, and the login's cause is found in each.

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
    let (rest, login) = messages.split_at(messages.len() - 2);
    assert_eq!(login, ["login failed permanently", "invalid_client"]);
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
        "order not placed: no access token available: login failed permanently: invalid_client"
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
