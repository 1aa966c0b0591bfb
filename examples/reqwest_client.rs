//! The layer on `reqwest::Client`, for ten seconds with tokens that live for two, and an upload of 10 MiB:
//!
//! ```sh
//! cargo run --example reqwest_client
//! ```
//!
//! reqwest's client is a tower service of reqwest's own requests. [`Reqwest`] is all it takes to make it one of `http`'s.
//! Redirects are off: reqwest would follow them below the layer, where the token is its affair; tower-http's
//! `FollowRedirect` above the layer asks for a token at each hop. Proxies of the environment are off too: the layer judges
//! where the URL leads, and a proxy for plain `http` would see the token.

use std::{
    future::Future,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use reqwest::redirect::Policy;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, ReplayClone};

#[path = "echo/mod.rs"]
mod echo;
#[path = "issuer/mod.rs"]
mod issuer;
#[path = "trial/mod.rs"]
mod trial;

use issuer::Issuer;
use trial::Outcome;

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
    trial::told(run(Duration::from_secs(10)).await)
}

/// Sends requests for so long, and then 10 MiB: do they come back as they were sent?
pub async fn run(lasting: Duration) -> Result<(Outcome, bool), BoxError> {
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
    let request = async || trial::success(send(Bytes::from_static(b"hello")).await?.0);
    let outcome = trial::run(lasting, || issuer.count(), || issuer.revoke(), request).await;
    let upload = echo::upload();
    Ok((outcome, send(upload.clone()).await? == (StatusCode::OK, upload)))
}
