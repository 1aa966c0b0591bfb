//! The layer on `reqwest::Client`, for ten seconds with tokens that live for two, and an upload of 10 MiB:
//!
//! ```sh
//! cargo run --example reqwest_client
//! ```
//!
//! reqwest's client is a tower service of reqwest's own requests. [`Reqwest`] is all it takes to make it one of `http`'s.
//! Redirects are off: reqwest would follow them below the layer, where the token is its affair; tower-http's
//! `FollowRedirect` above the layer asks for a token at each hop.

use std::{
    future::Future,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, ReplayClone};

#[path = "echo/mod.rs"]
mod echo;
#[path = "issuer/mod.rs"]
mod issuer;

use issuer::Issuer;

/// `reqwest::Client` as a service of `http`'s requests and responses.
#[derive(Clone, Debug)]
struct Reqwest(reqwest::Client);

impl<B: Into<reqwest::Body>> Service<Request<B>> for Reqwest {
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, reqwest::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (client, request) = (self.0.clone(), reqwest::Request::try_from(request));
        Box::pin(async move { client.execute(request?).await.map(Response::from) })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Duration::from_secs(10)).await {
        Ok(outcome) => {
            println!("{outcome:?}");
            if outcome.failed == 0 && outcome.upload_came_back { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// Sent, and answered with something.
    pub requests: u32,
    /// Answered with something else than success.
    pub failed: u32,
    /// Tokens that were needed.
    pub logins: u32,
    /// Whether 10 MiB came back as they were sent.
    pub upload_came_back: bool,
}

/// Sends a request every 50 ms, for so long, and then 10 MiB. Meanwhile all tokens are taken back.
pub async fn run(lasting: Duration) -> Result<Outcome, BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let url = format!("http://{}/", echo::serve(issuer.clone()).await?);

    let refresher = AuthRefresher::new(issuer.login());
    let reqwest = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let client =
        ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher).replay(ReplayClone)).service(Reqwest(reqwest));

    let send = async |body: Bytes| {
        let response = client.clone().oneshot(Request::post(&url).body(body)?).await?;
        let status = response.status();
        Ok::<_, BoxError>((status, response.into_body().collect().await?.to_bytes()))
    };
    let (start, mut newest, mut revoked) = (Instant::now(), Instant::now(), false);
    let mut outcome = Outcome { requests: 0, failed: 0, logins: 0, upload_came_back: false };
    while start.elapsed() < lasting {
        // Not a token that is quite new: it might not be valid everywhere yet, and its rejection would not count.
        if !revoked && start.elapsed() > lasting / 3 && newest.elapsed() > Duration::from_millis(500) {
            revoked = true;
            issuer.revoke();
            println!("{:4.1}s  the server has taken back all tokens", start.elapsed().as_secs_f32());
        }
        let (status, _) = send(Bytes::from_static(b"hello")).await?;
        outcome.requests += 1;
        if status != StatusCode::OK {
            outcome.failed += 1;
            println!("{:4.1}s  {status}", start.elapsed().as_secs_f32());
        }
        if issuer.count() > outcome.logins {
            outcome.logins = issuer.count();
            newest = Instant::now();
            println!("{:4.1}s  token t{}", start.elapsed().as_secs_f32(), outcome.logins);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let upload: Bytes = (0..10 << 20).map(|nth: u32| nth.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    outcome.upload_came_back = send(upload.clone()).await? == (StatusCode::OK, upload);
    Ok(outcome)
}
