//! A TLS server, and a proxy that tunnels to it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// A name that only the proxy can reach.
pub(crate) const HOST: &str = "api.example.com";

/// A certificate for [`HOST`] and for the loopback.
pub(crate) struct Tls {
    pub(crate) certificate: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

impl Tls {
    pub(crate) fn new() -> Self {
        let names = [HOST, "localhost"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        // As servers do. A tunnel must be requested by HTTP/1.1 nevertheless.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { certificate: cert.der().clone(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        });
        Self { addr, task: task.abort_handle() }
    }

    /// Responds with the name of the protocol.
    pub(crate) async fn https(tls: &Tls) -> Self {
        let acceptor = tls.acceptor.clone();
        Self::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    respond(stream).await;
                }
            }
        })
        .await
    }

    pub(crate) async fn http() -> Self {
        Self::start(respond).await
    }
}

async fn respond(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!(
            "{:?}",
            request.version()
        )))))
    });
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A proxy that connects each tunnel to the same server.
pub(crate) struct Proxy {
    server: Server,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy, which a client reaches over TLS if there is a `tls`. Its response to `CONNECT` has this status.
    pub(crate) async fn start(target: SocketAddr, tls: Option<&Tls>, status: &'static str) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (recorded, acceptor) = (requests.clone(), tls.map(|tls| tls.acceptor.clone()));
        let server = Server::start(move |stream| {
            let (recorded, acceptor) = (recorded.clone(), acceptor.clone());
            async move {
                match acceptor {
                    Some(acceptor) => {
                        tunnel(acceptor.accept(stream).await.unwrap(), target, status, &recorded)
                            .await
                    }
                    None => tunnel(stream, target, status, &recorded).await,
                }
            }
        })
        .await;
        Self { server, requests }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// Returns the heads of the requests for tunnels.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn tunnel(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    target: SocketAddr,
    status: &str,
    requests: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    requests.lock().unwrap().push(String::from_utf8(head).unwrap());
    stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
    if status.starts_with("200") {
        let mut server = TcpStream::connect(target).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    }
}
