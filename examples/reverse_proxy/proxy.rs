//! Forwards requests to one upstream through a client that sets the token. Bodies are streamed in both directions.

use std::{convert::Infallible, future::Future, io, net::IpAddr, pin::pin, time::Duration};

use bytes::Bytes;
use examples::load::with_causes;
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
use tower_auth_refresh::{
    AuthRefresh, AuthRefreshLayer, AuthRefresher, BufferedBody, Error, ReplayBuffered,
};

/// The body of a response: the upstream's, or an error message.
type Body = Either<Incoming, Full<Bytes>>;

/// A proxy for one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    scheme: Scheme,
    authority: Authority,
    client:
        AuthRefresh<Client<HttpsConnector<HttpConnector>, BufferedBody<Incoming>>, ReplayBuffered>,
}

impl Proxy {
    /// Creates a proxy for an upstream: a scheme and an authority. The scheme is `https`, or `http` on the loopback,
    /// because the upstream receives the token.
    pub(crate) fn new(
        upstream: Uri,
        refresher: AuthRefresher,
        tls: ClientConfig,
    ) -> Result<Self, &'static str> {
        let parts = upstream.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("upstream must have a scheme and an authority");
        };
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err("upstream must not have a path: each request has its own");
        }
        let host = authority.host().trim_matches(['[', ']']);
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        if scheme != Scheme::HTTPS && !is_loopback {
            return Err("upstream must use https, or http on the loopback");
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        // Replays a rejected upload if at most 64 KiB of it were sent.
        let layer = AuthRefreshLayer::new(refresher).replay(ReplayBuffered::new());
        let client = ServiceBuilder::new().layer(layer).service(client);
        Ok(Self { scheme, authority, client })
    }

    /// Serves until `stop`, and then completes the open responses within 10 seconds.
    pub(crate) async fn serve(self, listener: TcpListener, stop: impl Future) {
        let (server, graceful) =
            (auto::Builder::new(TokioExecutor::new()), GracefulShutdown::new());
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut stop => break,
            };
            let Ok((stream, _)) = accepted else {
                // Such as too many open files, until other connections close.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let proxy = self.clone();
            let service = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, Infallible>(proxy.forward(request).await) }
            });
            let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
            tokio::spawn(graceful.watch(connection));
        }
        // Clients get an error at once.
        drop(listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = sleep(Duration::from_secs(10)) => {}
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Response<Body> {
        // A tunnel would bypass the layer, and the response to a TRACE contains the token.
        if [Method::CONNECT, Method::TRACE].contains(request.method()) {
            return respond(StatusCode::METHOD_NOT_ALLOWED, "method is not supported\n");
        }
        let path =
            request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path);
        let Ok(uri) = uri.build() else {
            return respond(StatusCode::BAD_REQUEST, "path is invalid\n");
        };
        *request.uri_mut() = uri;
        let received_version = match request.version() {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        *request.version_mut() = Version::HTTP_11;
        join_cookies(request.headers_mut());
        // hyper sets the upstream's name.
        request.headers_mut().remove(HOST);
        remove_hop_by_hop(request.headers_mut());
        // RFC 9110, section 7.6.3.
        let via = HeaderValue::try_from(format!("{received_version} reverse-proxy"));
        request.headers_mut().extend(via.map(|via| (header::VIA, via)));
        match self.client.clone().oneshot(request).await {
            Ok(mut response) => {
                remove_hop_by_hop(response.headers_mut());
                response.map(Either::Left)
            }
            Err(Error::Login(error)) if error.is_timeout() => {
                respond(StatusCode::GATEWAY_TIMEOUT, "timed out waiting for a token\n")
            }
            Err(Error::Login(error)) => {
                eprintln!("login failed: {}", with_causes(&error));
                respond(StatusCode::BAD_GATEWAY, "login failed\n")
            }
            Err(error) => {
                eprintln!("{}", with_causes(&*BoxError::from(error)));
                respond(StatusCode::BAD_GATEWAY, "upstream is unavailable\n")
            }
        }
    }
}

fn respond(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    response
}

/// Joins the `Cookie` headers of an HTTP/2 request, because HTTP/1.1 allows only one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Removes the headers that apply to one connection only (RFC 9110, section 7.6.1).
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

/// Completes on Ctrl-C or SIGTERM.
pub(crate) async fn shutdown_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
