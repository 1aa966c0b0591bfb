//! Tokens from a file that another task replaces every 2 seconds, and from a command that prints the file. Each runs for
//! 6 seconds. The tokens live for 4 seconds, and the server revokes all of them once:
//!
//! ```sh
//! cargo run -p examples --features token-sources --example token_sources
//! ```

use std::{env, fs, path::Path, process::ExitCode, time::Duration};

use bytes::Bytes;
use examples::{
    echo,
    issuer::Issuer,
    load::{self, Report},
};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, ReplayClone, State,
    sources::{CommandFormat, CommandToken, FileToken},
};

#[tokio::main]
async fn main() -> ExitCode {
    load::exit_code(run(Duration::from_secs(12)).await.map(|report| (report, true)))
}

/// Sends requests for `duration`.
pub async fn run(duration: Duration) -> Result<Report, BoxError> {
    let issuer = Issuer::new(Duration::from_secs(4));
    let api = format!("http://{}/", echo::serve(issuer.clone()).await?);
    let folder = env::temp_dir().join(format!("tower-auth-refresh-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let file = folder.join("token");
    replace(&file, &issuer)?;
    let (sidecar_issuer, sidecar_file) = (issuer.clone(), file.clone());
    let sidecar = tokio::spawn(async move {
        while replace(&sidecar_file, &sidecar_issuer).is_ok() {
            sleep(Duration::from_secs(2)).await;
        }
    });

    // The tokens live for 4 seconds. Read the file often, and let a rejection count at any age of the token.
    let from_file =
        AuthRefresher::builder(FileToken::new(&file).poll_interval(Duration::from_millis(100)));
    let from_file = from_file.min_rejection_age(Duration::ZERO).build()?;
    // The output does not contain the lifetime.
    let from_command =
        AuthRefresher::builder(CommandToken::new("cat").arg(&file).format(CommandFormat::Token));
    let from_command = from_command
        .default_lifetime(Duration::from_secs(2))
        .min_rejection_age(Duration::ZERO)
        .build()?;

    let mut total = Report::default();
    for (source, refresher) in [
        ("a file that another task replaces", from_file),
        ("a command that prints the file", from_command),
    ] {
        println!("{source}");
        let hyper = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let layer = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone);
        let mut client = ServiceBuilder::new().layer(layer).service(hyper);
        let request = async || {
            let response =
                client.ready().await?.call(Request::get(&api).body(Empty::new())?).await?;
            let status = response.status();
            response.into_body().collect().await?;
            load::success(status)
        };
        // Not during a login: it may have read a token that is revoked before a request uses it, and the layer replays a
        // request only once. The file gets a new token at once.
        let revoke = || {
            let (issuer, file, mut statuses) =
                (issuer.clone(), file.clone(), refresher.subscribe());
            tokio::spawn(async move {
                statuses.wait_for(|status| status.state == State::Ready).await?;
                issuer.revoke();
                replace(&file, &issuer)
            });
        };
        let Report { requests, failed, logins } =
            load::run(duration / 2, || issuer.count(), revoke, request).await;
        total =
            Report { requests: total.requests + requests, failed: total.failed + failed, logins };
    }
    sidecar.abort();
    fs::remove_dir_all(folder)?;
    Ok(total)
}

/// Replaces the file atomically.
fn replace(file: &Path, issuer: &Issuer) -> Result<(), BoxError> {
    let token = issuer.issue()?;
    let new = file.with_extension(token.secret());
    fs::write(&new, token.secret())?;
    Ok(fs::rename(new, file)?)
}
