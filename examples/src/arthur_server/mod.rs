//! A small server for the Arthur API, for examples and tests. It listens on the loopback only.
//!
//! ```sh
//! cargo run -p examples --example arthur_server -- --port 3000 --ttl 8 --login jo --password swordfish
//! ```
//!
//! The first line of its output is `LISTENING <port>`. Its tokens live for `ttl` seconds. From another shell:
//!
//! ```sh
//! curl -i localhost:3000/api/v3/login -d '{"login":"jo","password":"swordfish"}'   # Set-Cookie: Authorization=<token>
//! curl -i localhost:3000/api/v3/echo -H 'Authorization: <token>'                   # {"token":1}, later 401
//! curl -i localhost:3000/api/v3/users/me -H 'Authorization: <token>'
//! curl -i localhost:3000/api/v3/users/me/auth_info -H 'Authorization: <token>'
//! curl -X POST localhost:3000/control/revoke                  # revokes all tokens
//! curl -X POST 'localhost:3000/control/outage?seconds=20'     # logins fail with 503 for 20 seconds
//! ```
//!
//! With `--features tls` and `--tls`, the server has a self-signed certificate (`curl --insecure https://…`).
//!
//! A program starts the server with [`Server::start`]. Dropping the [`Server`] stops it.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::{AbortHandle, JoinSet},
};

mod api;
pub mod config;
mod tokens;

pub use config::Config;
use tokens::Tokens;

/// A running server.
pub struct Server {
    addr: SocketAddr,
    scheme: &'static str,
    tokens: Arc<Tokens>,
    acceptor: AbortHandle,
}

impl Server {
    /// Starts a server on the loopback and on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The port is in use.
    pub fn start(config: Config) -> io::Result<Self> {
        Self::start_with("http", config, async |stream, api| {
            // Its errors concern only the client.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), api).await;
        })
    }

    /// Starts a server that serves each connection with `serve`.
    pub(super) fn start_with<F>(
        scheme: &'static str,
        config: Config,
        serve: impl Fn(TcpStream, Api) -> F + Send + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;
        let tokens = Arc::new(Tokens::new(config));
        let task = tokio::spawn(accept(listener, serve, Api(tokens.clone())));
        Ok(Self { addr, scheme, tokens, acceptor: task.abort_handle() })
    }

    /// Returns the address that the server listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the base URL for a client.
    pub fn base_url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.addr.port())
    }

    /// Returns the number of successful logins.
    pub fn logins(&self) -> u64 {
        self.tokens.issued()
    }

    /// Returns the number of logins, failed ones included.
    pub fn attempts(&self) -> u64 {
        self.tokens.attempts()
    }

    /// Revokes all tokens. Requests with one of them fail with 401.
    pub fn revoke(&self) {
        self.tokens.revoke();
    }

    /// Makes logins fail with 503 for `duration`.
    pub fn outage(&self, duration: Duration) {
        self.tokens.outage(duration);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This task owns the tasks of the connections, which end with it.
        self.acceptor.abort();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// The endpoints as a service.
#[derive(Clone)]
pub(super) struct Api(Arc<Tokens>);

impl Service<Request<Incoming>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let tokens = self.0.clone();
        Box::pin(async move { Ok(api::handle(request, &tokens).await) })
    }
}

async fn accept<F>(listener: tokio::net::TcpListener, serve: impl Fn(TcpStream, Api) -> F, api: Api)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Such as too many open files, until other connections close.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        connections.spawn(serve(stream, api.clone()));
        while connections.try_join_next().is_some() {}
    }
}
