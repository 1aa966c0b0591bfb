//! A reverse proxy that puts the token on whatever it forwards to one upstream:
//!
//! ```sh
//! cargo run --example reverse_proxy -- --listen 127.0.0.1:8080 --upstream http://localhost:3000 \
//!     --arthur https://arthur.example --login jo@example.com --password …
//! curl http://127.0.0.1:8080/things/1
//! ```
//!
//! Ctrl-C ends it, when the answers that are on their way have been sent. Without arguments it shows itself, for ten seconds,
//! with an upstream of its own whose tokens live for two.

use std::{env, net::SocketAddr, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
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
use proxy::{Proxy, told_to_stop};
use trial::Outcome;

const USAGE: &str =
    "usage: reverse_proxy [--listen ADDRESS --upstream URL --arthur URL --login LOGIN --password PASSWORD]";

#[tokio::main]
async fn main() -> ExitCode {
    if env::args().len() == 1 {
        return trial::told(show(Duration::from_secs(10)).await);
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is told to stop.
async fn run() -> Result<(), BoxError> {
    let (mut listen, mut upstream, mut arthur, mut login, mut password) = (None, None, None, None, None);
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let place = match name.as_str() {
            "--listen" => &mut listen,
            "--upstream" => &mut upstream,
            "--arthur" => &mut arthur,
            "--login" => &mut login,
            "--password" => &mut password,
            _ => return Err(USAGE.into()),
        };
        *place = Some(arguments.next().ok_or(USAGE)?);
    }
    let (Some(upstream), Some(arthur), Some(login), Some(password)) = (upstream, arthur, login, password) else {
        return Err(USAGE.into());
    };

    let api = ArthurApi::new(BaseUrl::parse(&arthur)?, HttpClient::builder().build()?);
    let refresher = AuthRefresher::new(ArthurLogin::new(UserLogin::new(api), Credentials::new(&login, &password)));
    let proxy = Proxy::new(upstream.parse()?, refresher).ok_or("the upstream is a scheme and an authority")?;
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
    let proxy = Proxy::new(upstream, AuthRefresher::new(issuer.login())).ok_or("no upstream")?;
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
