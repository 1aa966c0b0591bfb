//! A reverse proxy that puts the token on whatever it forwards to one upstream:
//!
//! ```sh
//! ARTHUR_PASSWORD=… cargo run --example reverse_proxy -- --listen 127.0.0.1:8080 --upstream https://api.example.com \
//!     --arthur https://arthur.example --login jo@example.com
//! curl http://127.0.0.1:8080/things/1
//! ```
//!
//! Whoever reaches the proxy has the token's rights: keep it on the loopback, and away from browsers.
//! Ctrl-C ends it, when the answers that are on their way have been sent. Without arguments it shows itself, for ten seconds,
//! with an upstream of its own whose tokens live for two.

use std::{env, net::SocketAddr, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::{net::TcpListener, sync::oneshot};
use tower::BoxError;
use tower_auth_refresh::{
    AuthRefresher,
    arthur::{ArthurApi, ArthurLogin, BaseUrl, Credentials, UserLogin},
    http_client::HttpClient,
};

#[path = "../echo/mod.rs"]
mod echo;
#[path = "../issuer/mod.rs"]
mod issuer;
mod proxy;
#[path = "../trial/mod.rs"]
mod trial;

use issuer::Issuer;
use proxy::{Proxy, chain, told_to_stop};
use trial::Outcome;

const USAGE: &str =
    "usage: ARTHUR_PASSWORD=... reverse_proxy [--listen ADDRESS --upstream URL --arthur URL --login LOGIN]";

#[tokio::main]
async fn main() -> ExitCode {
    if env::args().len() == 1 {
        return trial::told(show(Duration::from_secs(10)).await);
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is told to stop.
async fn run() -> Result<(), BoxError> {
    let (mut listen, mut upstream, mut arthur, mut login) = (None, None, None, None);
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let place = match name.as_str() {
            "--listen" => &mut listen,
            "--upstream" => &mut upstream,
            "--arthur" => &mut arthur,
            "--login" => &mut login,
            _ => return Err(USAGE.into()),
        };
        *place = Some(arguments.next().ok_or(USAGE)?);
    }
    // Not an argument, which other users of the machine could see.
    let (Some(upstream), Some(arthur), Some(login), Ok(password)) =
        (upstream, arthur, login, env::var("ARTHUR_PASSWORD"))
    else {
        return Err(USAGE.into());
    };

    let api = ArthurApi::new(BaseUrl::parse(&arthur)?, HttpClient::builder().build()?);
    let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), Credentials::new(&login, &password)));
    let proxy = Proxy::new(upstream.parse()?, refresher, ClientConfig::with_platform_verifier()?)?;
    let listener = TcpListener::bind(listen.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    println!("forwarding http://{} to {upstream}", listener.local_addr()?);
    proxy.serve(listener, told_to_stop()).await;
    Ok(())
}

/// Sends requests through a proxy to an upstream, both of its own, and then 10 MiB: do they come back as they were sent? The
/// proxy is stopped while they are on their way.
pub async fn show(lasting: Duration) -> Result<(Outcome, bool), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let upstream: Uri = format!("http://{}", echo::serve(issuer.clone()).await?).parse()?;
    let proxy = Proxy::new(upstream, AuthRefresher::new(issuer.login()), ClientConfig::with_platform_verifier()?)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr: SocketAddr = listener.local_addr()?;
    println!("a proxy listens on http://{addr}; its upstream wants a token, curl needs none");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(proxy.serve(listener, stopped));

    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let send = async |body: Bytes| {
        let response = client.request(Request::post(format!("http://{addr}/")).body(Full::from(body))?).await?;
        Ok::<_, BoxError>(response)
    };
    let request = async || {
        let response = send(Bytes::from_static(b"hello")).await?;
        trial::success(response.status())?;
        let body = response.into_body().collect().await?.to_bytes();
        if body == "hello" { Ok(()) } else { Err("another body came back".into()) }
    };
    let outcome = trial::run(lasting, || issuer.count(), || issuer.revoke(), request).await;
    let upload = echo::upload();
    let response = send(upload.clone()).await?;
    // The answer has begun, and is sent to its end.
    let _ = stop.send(());
    let came_back = response.into_body().collect().await?.to_bytes() == upload;
    serving.await?;
    Ok((outcome, came_back))
}
