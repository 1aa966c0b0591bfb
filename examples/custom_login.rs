//! A custom login service, from a function, with tower's `Timeout` and `Retry`:
//!
//! ```sh
//! cargo run -p examples --example custom_login
//! ```
//!
//! The first attempt times out, and `Retry` makes a second one, which succeeds. From then on, the provider rejects the
//! password. Requests use the token until it expires, and then fail with the error of the login.

use std::{
    future::{Ready, pending, ready},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Request, Response, header::AUTHORIZATION};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, retry::Policy, service_fn};
use tower_auth_refresh::{AccessToken, AuthRefreshLayer, AuthRefresher, LoginError, LoginRequest};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Duration::from_secs(2)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Stands for a request to the identity provider.
async fn request_token(attempt: u32, lifetime: Duration) -> Result<AccessToken, BoxError> {
    println!("  login, attempt {attempt}");
    match attempt {
        1 => pending().await,
        2 => Ok(AccessToken::bearer("s3cr3t")?.with_expires_in(lifetime)),
        // The refresher rarely retries after a permanent error, so that the provider does not lock the account.
        _ => Err(LoginError::permanent("password is wrong").into()),
    }
}

/// Retries a login once if it timed out. The refresher retries after other errors.
#[derive(Clone)]
struct RetryTimeout {
    can_retry: bool,
}

impl Policy<LoginRequest, AccessToken, BoxError> for RetryTimeout {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut LoginRequest,
        result: &mut Result<AccessToken, BoxError>,
    ) -> Option<Self::Future> {
        let timed_out =
            result.as_ref().is_err_and(|error| error.is::<tower::timeout::error::Elapsed>());
        (timed_out && std::mem::take(&mut self.can_retry)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &LoginRequest) -> Option<LoginRequest> {
        Some(request.clone())
    }
}

/// Logs in, uses the token until it expires, and prints the error of a call after that.
pub async fn run(lifetime: Duration) -> Result<(), BoxError> {
    let attempts = Arc::new(AtomicU32::new(0));
    let login = ServiceBuilder::new()
        .retry(RetryTimeout { can_retry: true })
        .timeout(Duration::from_millis(200))
        .service(service_fn(move |_: LoginRequest| {
            request_token(attempts.fetch_add(1, Relaxed) + 1, lifetime)
        }));
    let refresher = AuthRefresher::new(login);

    // Stands for a client. The response is whether the request has a token.
    let api = service_fn(|request: Request<()>| {
        ready(Ok::<_, BoxError>(Response::new(request.headers().contains_key(AUTHORIZATION))))
    });
    let mut client =
        ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(api);

    let mut call = async || {
        let request = Request::get("https://api.example.com/").body(())?;
        Ok::<_, BoxError>(client.ready().await?.call(request).await?.into_body())
    };
    println!("request has a token: {}", call().await?);
    let mut statuses = refresher.subscribe();
    statuses.wait_for(|status| status.last_error.is_some()).await?;
    println!("after the failed refresh, request has a token: {}", call().await?);
    tokio::time::sleep(lifetime).await;
    match call().await {
        Ok(_) => Err("the client sent an expired token".into()),
        Err(error) => {
            println!("after the expiry, the call fails:");
            let mut cause: Option<&dyn std::error::Error> = Some(&*error);
            while let Some(error) = cause {
                println!("  {error}");
                cause = error.source();
            }
            Ok(())
        }
    }
}
