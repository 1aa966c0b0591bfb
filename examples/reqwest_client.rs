//! `reqwest::Client` below the layer, for 10 seconds with tokens that live for 2, and an upload of 10 MiB:
//!
//! ```sh
//! cargo run -p examples --features reqwest --example reqwest_client
//! ```
//!
//! reqwest's client is a tower service for reqwest's requests. [`Reqwest`] makes it a service for `http`'s.
//! Redirects are disabled, because reqwest would follow them below the layer. tower-http's `FollowRedirect` above the
//! layer gets a token for each hop. Proxies from the environment are disabled, because the layer checks the URL only: a
//! proxy for plain `http` could read the token.

use std::{
    future::Future,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use examples::{
    echo,
    issuer::Issuer,
    load::{self, Report},
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use reqwest::redirect::Policy;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, ReplayClone};

/// A service for `http`'s requests over `reqwest::Client`.
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
    load::exit_code(run(Duration::from_secs(10)).await)
}

/// Sends requests for `duration`, and then 10 MiB. Returns whether the echo of these is equal too.
pub async fn run(duration: Duration) -> Result<(Report, bool), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let url = format!("http://{}/", echo::serve(issuer.clone()).await?);

    let refresher = AuthRefresher::new(issuer.login());
    let reqwest = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build()?;
    let client =
        ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher).replay(ReplayClone)).service(Reqwest(reqwest));

    let send = async |body: Bytes| {
        let response = client.clone().oneshot(Request::post(&url).body(body)?).await?;
        let status = response.status();
        Ok::<_, BoxError>((status, response.into_body().collect().await?.to_bytes()))
    };
    let request = async || load::success(send(Bytes::from_static(b"hello")).await?.0);
    let report = load::run(duration, || issuer.count(), || issuer.revoke(), request).await;
    let upload = echo::upload();
    Ok((report, send(upload.clone()).await? == (StatusCode::OK, upload)))
}
