//! A reverse proxy that sets the token on the requests that it forwards to one upstream:
//!
//! ```sh
//! ARTHUR_PASSWORD=… cargo run -p examples --features reverse-proxy --example reverse_proxy -- \
//!     --listen 127.0.0.1:8080 --upstream https://api.example.com --arthur https://arthur.example --login jo@example.com
//! curl http://127.0.0.1:8080/items/1
//! ```
//!
//! Every client of the proxy has the rights of the token. Keep the proxy on the loopback, and away from browsers.
//! Ctrl-C stops the proxy after the open responses were sent. Without arguments, it runs for 10 seconds with a local
//! upstream whose tokens live for 2.

use std::{env, net::SocketAddr, process::ExitCode, time::Duration};

use bytes::Bytes;
use examples::{
    echo,
    issuer::Issuer,
    load::{self, Report},
};
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

mod proxy;

use proxy::{Proxy, shutdown_signal};

const USAGE: &str = "usage: ARTHUR_PASSWORD=... reverse_proxy [--listen ADDRESS --upstream URL --arthur URL --login LOGIN]";

#[tokio::main]
async fn main() -> ExitCode {
    if env::args().len() == 1 {
        return load::exit_code(run_against_local_server(Duration::from_secs(10)).await);
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", load::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Serves until a shutdown signal.
async fn run() -> Result<(), BoxError> {
    let (mut listen, mut upstream, mut arthur, mut login) = (None, None, None, None);
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let argument = match name.as_str() {
            "--listen" => &mut listen,
            "--upstream" => &mut upstream,
            "--arthur" => &mut arthur,
            "--login" => &mut login,
            _ => return Err(USAGE.into()),
        };
        *argument = Some(arguments.next().ok_or(USAGE)?);
    }
    // Not an argument: other users of the machine can read those.
    let (Some(upstream), Some(arthur), Some(login), Ok(password)) =
        (upstream, arthur, login, env::var("ARTHUR_PASSWORD"))
    else {
        return Err(USAGE.into());
    };

    let api = ArthurApi::new(BaseUrl::parse(&arthur)?, HttpClient::builder().build()?);
    let refresher = AuthRefresher::new(ArthurLogin::new(
        UserLogin::new(api),
        Credentials::new(&login, &password),
    ));
    let proxy = Proxy::new(upstream.parse()?, refresher, ClientConfig::with_platform_verifier()?)?;
    let listener = TcpListener::bind(listen.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    println!("forwarding http://{} to {upstream}", listener.local_addr()?);
    proxy.serve(listener, shutdown_signal()).await;
    Ok(())
}

/// Sends requests through a proxy to a local upstream, and then 10 MiB. Stops the proxy during the response. Returns
/// whether the echo of the 10 MiB is equal too.
pub async fn run_against_local_server(duration: Duration) -> Result<(Report, bool), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let upstream: Uri = format!("http://{}", echo::serve(issuer.clone()).await?).parse()?;
    let proxy = Proxy::new(
        upstream,
        AuthRefresher::new(issuer.login()),
        ClientConfig::with_platform_verifier()?,
    )?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr: SocketAddr = listener.local_addr()?;
    println!("listening on http://{addr}; the upstream requires a token, which the proxy sets");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(proxy.serve(listener, stopped));

    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let send = async |body: Bytes| {
        let response = client
            .request(Request::post(format!("http://{addr}/")).body(Full::from(body))?)
            .await?;
        Ok::<_, BoxError>(response)
    };
    let request = async || {
        let response = send(Bytes::from_static(b"hello")).await?;
        load::success(response.status())?;
        let body = response.into_body().collect().await?.to_bytes();
        if body == "hello" { Ok(()) } else { Err("response has another body".into()) }
    };
    let report = load::run(duration, || issuer.count(), || issuer.revoke(), request).await;
    let upload = echo::upload();
    let response = send(upload.clone()).await?;
    // The response has begun. The proxy sends all of it.
    let _ = stop.send(());
    let is_equal = response.into_body().collect().await?.to_bytes() == upload;
    serving.await?;
    Ok((report, is_equal))
}
