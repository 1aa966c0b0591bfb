//! Forwards each request to one upstream, through a client that puts the token on it. Bodies stream, both ways.

use std::{convert::Infallible, future::Future, io, net::IpAddr, pin::pin, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{self, COOKIE, HOST},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rustls::ClientConfig;
use tokio::{net::TcpListener, time::sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{AuthRefresh, AuthRefreshLayer, AuthRefresher, BufferedBody, Error, ReplayBuffered};

/// What goes back to who asked: the upstream's body, or a line of ours.
type Body = Either<Incoming, Full<Bytes>>;

/// A proxy for one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    scheme: Scheme,
    authority: Authority,
    client: AuthRefresh<Client<HttpsConnector<HttpConnector>, BufferedBody<Incoming>>, ReplayBuffered>,
}

impl Proxy {
    /// A proxy for an upstream, which is a scheme and an authority: `https`, or `http` on this machine, since a token goes
    /// there.
    pub(crate) fn new(upstream: Uri, refresher: AuthRefresher, tls: ClientConfig) -> Result<Self, &'static str> {
        let parts = upstream.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("the upstream is a scheme and an authority");
        };
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err("the upstream has a path: what is forwarded has its own");
        }
        let host = authority.host().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        if scheme != Scheme::HTTPS && !here {
            return Err("a token goes to https only, and to http on this machine");
        }
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        // An upload of which no more than 64 KiB have been sent is sent once more if the token is rejected.
        let layer = AuthRefreshLayer::new(refresher).replay(ReplayBuffered::new());
        let client = ServiceBuilder::new().layer(layer).service(client);
        Ok(Self { scheme, authority, client })
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
        // Nobody is to wait for a proxy that takes no more.
        drop(listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = sleep(Duration::from_secs(10)) => {}
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Response<Body> {
        // A tunnel would not be ours, and a trace sends the token back.
        if [Method::CONNECT, Method::TRACE].contains(request.method()) {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "no such method\n");
        }
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let Ok(uri) = uri.build() else { return answer(StatusCode::BAD_REQUEST, "no such path\n") };
        *request.uri_mut() = uri;
        let came_by = match request.version() {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        *request.version_mut() = Version::HTTP_11;
        join_cookies(request.headers_mut());
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
                eprintln!("no token: {}", chain(&error));
                answer(StatusCode::BAD_GATEWAY, "no token\n")
            }
            Err(error) => {
                eprintln!("{}", chain(&*BoxError::from(error)));
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

/// An error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let (mut told, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    told
}

/// HTTP/2 may have several lines of them, HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
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
