//! Tokens from a file that something else replaces every other second, for six seconds, and from a command that prints the
//! file, for six more; each token lives for four, and all are taken back meanwhile:
//!
//! ```sh
//! cargo run --example token_sources --features token-file,token-command
//! ```

use std::{env, fs, path::Path, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, ReplayClone, State,
    sources::{CommandFormat, CommandToken, FileToken},
};

#[path = "echo/mod.rs"]
mod echo;
#[path = "issuer/mod.rs"]
mod issuer;
#[path = "trial/mod.rs"]
mod trial;

use issuer::Issuer;
use trial::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    trial::told(run(Duration::from_secs(12)).await.map(|outcome| (outcome, true)))
}

/// Sends requests for so long.
pub async fn run(lasting: Duration) -> Result<Outcome, BoxError> {
    let issuer = Issuer::new(Duration::from_secs(4));
    let api = format!("http://{}/", echo::serve(issuer.clone()).await?);
    let folder = env::temp_dir().join(format!("tower-auth-refresh-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let file = folder.join("token");
    replace(&file, &issuer)?;
    let (sidecars, theirs) = (issuer.clone(), file.clone());
    let sidecar = tokio::spawn(async move {
        while replace(&theirs, &sidecars).is_ok() {
            sleep(Duration::from_secs(2)).await;
        }
    });

    // Looked at often, and rejected at any age, since its tokens live so shortly and another is there at once.
    let watched = AuthRefresher::builder(FileToken::new(&file).poll_interval(Duration::from_millis(100)));
    let watched = watched.min_rejection_age(Duration::ZERO).build()?;
    // It does not say how long its tokens live.
    let printed = AuthRefresher::builder(CommandToken::new("cat").arg(&file).format(CommandFormat::Token));
    let printed = printed.default_lifetime(Duration::from_secs(2)).min_rejection_age(Duration::ZERO).build()?;

    let mut outcome = Outcome { requests: 0, failed: 0, logins: 0 };
    for (what, refresher) in [("a file that is replaced", watched), ("a command that prints it", printed)] {
        println!("{what}");
        let hyper = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let layer = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone);
        let mut client = ServiceBuilder::new().layer(layer).service(hyper);
        let request = async || {
            let response = client.ready().await?.call(Request::get(&api).body(Empty::new())?).await?;
            let status = response.status();
            response.into_body().collect().await?;
            trial::success(status)
        };
        // Not during a login: it may have read a token that is revoked before it arrives, and a request is replayed only
        // once. The file has another token at once.
        let revoke = || {
            let (issuer, file, mut statuses) = (issuer.clone(), file.clone(), refresher.subscribe());
            tokio::spawn(async move {
                statuses.wait_for(|status| status.state == State::Ready).await?;
                issuer.revoke();
                replace(&file, &issuer)
            });
        };
        let Outcome { requests, failed, logins } = trial::run(lasting / 2, || issuer.count(), revoke, request).await;
        outcome = Outcome { requests: outcome.requests + requests, failed: outcome.failed + failed, logins };
    }
    sidecar.abort();
    fs::remove_dir_all(folder)?;
    Ok(outcome)
}

/// As a whole or not at all.
fn replace(file: &Path, issuer: &Issuer) -> Result<(), BoxError> {
    let token = issuer.issue()?;
    let new = file.with_extension(token.secret());
    fs::write(&new, token.secret())?;
    Ok(fs::rename(new, file)?)
}
