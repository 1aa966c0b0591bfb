//! A small server that speaks the Arthur API, to try a client against. It listens on the loopback only.
//!
//! ```sh
//! cargo run --example arthur_server -- --port 3000 --ttl 8 --login jo --password swordfish
//! ```
//!
//! It prints `LISTENING <port>` first. Its tokens live for `ttl` seconds, a year at most. Then, from another shell:
//!
//! ```sh
//! curl -i localhost:3000/api/v3/login -d '{"login":"jo","password":"swordfish"}'   # Set-Cookie: Authorization=<token>
//! curl -i localhost:3000/api/v3/echo -H 'Authorization: <token>'                   # {"token":1}, later 401
//! curl -i localhost:3000/api/v3/users/me -H 'Authorization: <token>'
//! curl -i localhost:3000/api/v3/users/me/auth_info -H 'Authorization: <token>'
//! curl -X POST localhost:3000/control/revoke                  # every token so far is worth nothing
//! curl -X POST 'localhost:3000/control/outage?seconds=20'     # logins are answered 503 for so long
//! ```
//!
//! With `--tls` it shows a self-signed certificate (`curl --insecure https://…`).
//!
//! In a program of its own: [`Server::start`]. It stops when it is dropped.

#![allow(dead_code, reason = "each program that includes this uses a part of it")]
#![allow(unreachable_pub, reason = "a module of a program")]

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

mod api;
pub mod config;
mod tokens;

pub use config::Config;
use tokens::Tokens;

/// A running server.
pub struct Server {
    addr: SocketAddr,
    tokens: Arc<Tokens>,
    certificate: Option<CertificateDer<'static>>,
    accepting: AbortHandle,
}

impl Server {
    /// Starts a server on the loopback and on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The port is taken, or the certificate cannot be made.
    pub fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;
        let (certificate, acceptor) = match config.tls {
            true => self_signed().map(|(der, acceptor)| (Some(der), Some(acceptor)))?,
            false => (None, None),
        };
        let tokens = Arc::new(Tokens::new(config));
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&tokens)));
        Ok(Self { addr, tokens, certificate, accepting: accepting.abort_handle() })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL for a client.
    pub fn base_url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.addr.port())
    }

    /// The certificate it shows, for a client to trust.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    /// How many logins were answered with a token.
    pub fn logins(&self) -> u64 {
        self.tokens.issued()
    }

    /// How many logins were asked for, those that were refused too.
    pub fn attempts(&self) -> u64 {
        self.tokens.attempts()
    }

    /// From now on, every token so far is answered 401.
    pub fn revoke(&self) {
        self.tokens.revoke();
    }

    /// From now on and for so long, logins are answered 503.
    pub fn outage(&self, lasting: Duration) {
        self.tokens.outage(lasting);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The connections are tasks of the one that accepts, and end with it.
        self.accepting.abort();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr).finish_non_exhaustive()
    }
}

async fn accept(listener: tokio::net::TcpListener, acceptor: Option<TlsAcceptor>, tokens: Arc<Tokens>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Such as too many open files, which lasts until others are closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (acceptor, tokens) = (acceptor.clone(), Arc::clone(&tokens));
        connections.spawn(async move {
            match acceptor {
                None => serve(stream, tokens).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, tokens).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection to its end. How it ends is the client's affair.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, tokens: Arc<Tokens>) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let tokens = Arc::clone(&tokens);
        async move { Ok::<_, std::convert::Infallible>(api::answer(request, &tokens).await) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

fn self_signed() -> io::Result<(CertificateDer<'static>, TlsAcceptor)> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((certificate, TlsAcceptor::from(Arc::new(config))))
}
