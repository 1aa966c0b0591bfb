//! A login service of one's own, from a function, with tower's `Timeout` and `Retry` on it:
//!
//! ```sh
//! cargo run --example custom_login
//! ```
//!
//! The first try hangs and is given up, the second is answered. Then the provider takes the password no more: the token
//! serves to its end, and what callers are told after that is printed.

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

/// Asks the identity provider. This one hangs at first, answers once, and then takes the password no more.
async fn ask(nth: u32, lifetime: Duration) -> Result<AccessToken, BoxError> {
    println!("  login, try {nth}");
    match nth {
        1 => pending().await,
        2 => Ok(AccessToken::bearer("s3cr3t")?.with_expires_in(lifetime)),
        // Not worth another try: a refresher that is told so does not get the account locked.
        _ => Err(LoginError::permanent("the password is wrong").into()),
    }
}

/// Tries a login once more if it took too long. For what else may go wrong the refresher has pauses of its own.
#[derive(Clone)]
struct OnceMore(bool);

impl Policy<LoginRequest, AccessToken, BoxError> for OnceMore {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut LoginRequest, result: &mut Result<AccessToken, BoxError>) -> Option<Self::Future> {
        let timed_out = result.as_ref().is_err_and(|error| error.is::<tower::timeout::error::Elapsed>());
        (timed_out && std::mem::take(&mut self.0)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &LoginRequest) -> Option<LoginRequest> {
        Some(request.clone())
    }
}

/// Logs in, uses the token for its lifetime, and looks what is told when there is none.
pub async fn run(lifetime: Duration) -> Result<(), BoxError> {
    let tries = Arc::new(AtomicU32::new(0));
    let login = ServiceBuilder::new()
        .retry(OnceMore(true))
        .timeout(Duration::from_millis(200))
        .service(service_fn(move |_: LoginRequest| ask(tries.fetch_add(1, Relaxed) + 1, lifetime)));
    let refresher = AuthRefresher::new(login);

    // Instead of a client: it answers whether it was sent a token.
    let api = service_fn(|request: Request<()>| {
        ready(Ok::<_, BoxError>(Response::new(request.headers().contains_key(AUTHORIZATION))))
    });
    let mut client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(api);

    let mut call = async || {
        let request = Request::get("https://api.example.com/").body(())?;
        Ok::<_, BoxError>(client.ready().await?.call(request).await?.into_body())
    };
    println!("sent with a token: {}", call().await?);
    let mut status = refresher.subscribe();
    status.wait_for(|status| status.last_error.is_some()).await?;
    println!("the refresh has failed, the token serves on: {}", call().await?);
    tokio::time::sleep(lifetime).await;
    match call().await {
        Ok(_) => Err("a token that has ended was sent".into()),
        Err(error) => {
            println!("the token has ended, and callers are told why there is no other:");
            let mut cause: Option<&dyn std::error::Error> = Some(&*error);
            while let Some(error) = cause {
                println!("  {error}");
                cause = error.source();
            }
            Ok(())
        }
    }
}
