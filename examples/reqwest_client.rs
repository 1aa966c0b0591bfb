//! `reqwest::Client` below the layer, for 10 seconds with tokens that live for 2, and an upload of 10 MiB:
//!
//! ```sh
//! cargo run -p examples --features reqwest --example reqwest_client
//! ```
//!
//! [`ReqwestService`] makes reqwest's client a tower service of `http`'s requests. Redirects are disabled, because reqwest
//! would follow them below the layer. tower-http's `FollowRedirect` above the layer gets a token for each hop. Proxies from
//! the environment are disabled, because the layer checks the URL only: a proxy for plain `http` could read the token.

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use examples::{
    echo,
    issuer::Issuer,
    load::{self, Report},
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use reqwest::redirect::Policy;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, ReplayClone, reqwest_client::ReqwestService,
};

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
    let client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).replay(ReplayClone))
        .service(ReqwestService::new(reqwest));

    let send = async |body: Bytes| {
        let response = client.clone().oneshot(Request::post(&url).body(Full::from(body))?).await?;
        let status = response.status();
        Ok::<_, BoxError>((status, response.into_body().collect().await?.to_bytes()))
    };
    let request = async || load::success(send(Bytes::from_static(b"hello")).await?.0);
    let report = load::run(duration, || issuer.count(), || issuer.revoke(), request).await;
    let upload = echo::upload();
    Ok((report, send(upload.clone()).await? == (StatusCode::OK, upload)))
}
