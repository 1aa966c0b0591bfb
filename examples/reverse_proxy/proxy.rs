//! Forwards each request to one upstream, through a client that puts the token on it. Bodies stream, both ways.

use std::{convert::Infallible, future::Future, io, pin::pin, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{self, HOST},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{net::TcpListener, time::sleep};
use tower::{ServiceBuilder, ServiceExt};
use tower_auth_refresh::{AuthRefresh, AuthRefreshLayer, AuthRefresher, BufferedBody, Error, ReplayBuffered};

/// What goes back to who asked: the upstream's body, or a line of ours.
type Body = Either<Incoming, Full<Bytes>>;

/// A proxy for one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    scheme: Scheme,
    authority: Authority,
    client: AuthRefresh<Client<HttpConnector, BufferedBody<Incoming>>, ReplayBuffered>,
}

impl Proxy {
    /// `None`: this is no upstream, which is a scheme and an authority.
    pub(crate) fn new(upstream: Uri, refresher: AuthRefresher) -> Option<Self> {
        let parts = upstream.into_parts();
        let hyper = Client::builder(TokioExecutor::new()).build_http();
        // An upload of which no more than 64 KiB have been sent is sent once more if the token is rejected.
        let layer = AuthRefreshLayer::new(refresher).replay(ReplayBuffered::new());
        let client = ServiceBuilder::new().layer(layer).service(hyper);
        Some(Self { scheme: parts.scheme?, authority: parts.authority?, client })
    }

    /// Serves until `stop`, and then until the last answer is on its way, for 10 seconds at most.
    pub(crate) async fn serve(self, listener: TcpListener, stop: impl Future) {
        let (server, graceful) = (auto::Builder::new(TokioExecutor::new()), GracefulShutdown::new());
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut stop => break,
            };
            let Ok((stream, _)) = accepted else {
                // Such as too many open files, which lasts until others are closed.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let proxy = self.clone();
            let answer = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, Infallible>(proxy.forward(request).await) }
            });
            let connection = server.serve_connection(TokioIo::new(stream), answer).into_owned();
            tokio::spawn(graceful.watch(connection));
        }
        tokio::select! {
            () = graceful.shutdown() => {}
            () = sleep(Duration::from_secs(10)) => {}
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let Ok(uri) = uri.build() else { return answer(StatusCode::BAD_REQUEST, "no such path\n") };
        *request.uri_mut() = uri;
        let came_by = if request.version() == Version::HTTP_2 { "2" } else { "1.1" };
        *request.version_mut() = Version::HTTP_11;
        // The client says the upstream's own name.
        request.headers_mut().remove(HOST);
        remove_hop_by_hop(request.headers_mut());
        // RFC 9110, section 7.6.3.
        let via = HeaderValue::try_from(format!("{came_by} reverse-proxy"));
        request.headers_mut().extend(via.map(|via| (header::VIA, via)));
        match self.client.clone().oneshot(request).await {
            Ok(mut response) => {
                remove_hop_by_hop(response.headers_mut());
                response.map(Either::Left)
            }
            Err(Error::Login(error)) if error.is_timeout() => answer(StatusCode::GATEWAY_TIMEOUT, "no token in time\n"),
            Err(Error::Login(error)) => {
                eprintln!("no token: {error}");
                answer(StatusCode::BAD_GATEWAY, "no token\n")
            }
            Err(error) => {
                eprintln!("{error}");
                answer(StatusCode::BAD_GATEWAY, "no answer from the upstream\n")
            }
        }
    }
}

fn answer(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    response
}

/// What is between two neighbours only (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in named.iter().chain(&always) {
        headers.remove(name);
    }
}

/// Ctrl-C, or being told to end.
pub(crate) async fn told_to_stop() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            stopped = tokio::signal::ctrl_c() => stopped,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
