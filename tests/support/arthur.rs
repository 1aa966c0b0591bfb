//! Servers on the loopback with scripted responses, and clients for them.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub, reason = "a module of a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_auth_refresh::{
    arthur::{ArthurApi, ArthurError, BaseUrl, Credentials, LoggedIn, UserLogin},
    http_client::{HttpClient, HttpClientBuilder},
    transport::TransportError,
};

pub const LOGIN: &str = "jo@example.com";
pub const PASSWORD: &str = "sw0rd\"fish\\é";

pub type Body = BoxBody<Bytes, Infallible>;

/// A request as the server received it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub version: Version,
}

/// A server with scripted responses. It stops when it is dropped.
pub struct Script {
    pub addr: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

impl Script {
    pub async fn start(
        script: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::with(None, script).await
    }

    pub async fn start_tls(
        acceptor: TlsAcceptor,
        script: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(acceptor), script).await
    }

    async fn with(
        acceptor: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let (addr, task) = listen(move |stream| {
            let (log, script, acceptor) = (Arc::clone(&log), script.clone(), acceptor.clone());
            async move {
                match acceptor {
                    None => serve(stream, log, script).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, log, script).await;
                        }
                    }
                }
            }
        })
        .await;
        Self { addr, scheme, seen, task }
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.addr.port())
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    log: Arc<Mutex<Vec<Seen>>>,
    script: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (log, script) = (Arc::clone(&log), script.clone());
        async move {
            let (head, body) = request.into_parts();
            let seen = Seen {
                method: head.method,
                path: head.uri.path().to_owned(),
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
                version: head.version,
            };
            let response = script(&seen);
            log.lock().unwrap().push(seen);
            Ok::<_, hyper::Error>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Scripts set the `Date` themselves.
    builder.http1().auto_date_header(false);
    builder.http2().auto_date_header(false);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Listens on a free port and handles each connection with `handle`.
pub async fn listen<F>(
    handle: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, AbortHandle)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(handle(stream));
        }
    });
    (addr, task.abort_handle())
}

/// A server that shuts each HTTP/2 connection down with GOAWAY. It stops when it is dropped.
pub struct GoAway {
    addr: SocketAddr,
    task: AbortHandle,
}

impl GoAway {
    /// `debug_data` is that of the frame.
    pub async fn start(acceptor: TlsAcceptor, debug_data: &str) -> Self {
        // SETTINGS, and then GOAWAY with ENHANCE_YOUR_CALM (RFC 9113, section 7).
        let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
        frames.extend([
            0,
            0,
            u8::try_from(8 + debug_data.len()).unwrap(),
            7,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            11,
        ]);
        frames.extend(debug_data.as_bytes());
        let (addr, task) = listen(move |stream| {
            let (acceptor, frames) = (acceptor.clone(), frames.clone());
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                stream.write_all(&frames).await.unwrap();
                stream.flush().await.unwrap();
                std::future::pending::<()>().await;
            }
        })
        .await;
        Self { addr, task }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }
}

impl Drop for GoAway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a request with a JSON body.
pub async fn read_request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"}") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap() == 0 {
            break;
        }
        read.push(byte[0]);
    }
}

pub fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

pub fn status(status: u16, body: &'static str) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A response of 200 that sets these cookies.
pub fn cookies(cookies: &[&str]) -> Response<Body> {
    let mut response = status(200, "");
    for cookie in cookies {
        response.headers_mut().append("set-cookie", cookie.parse().unwrap());
    }
    response
}

pub fn client() -> HttpClient {
    HttpClient::builder().build().unwrap()
}

pub fn api(url: &str) -> ArthurApi<HttpClient> {
    ArthurApi::new(BaseUrl::parse(url).unwrap(), client())
}

pub fn api_with(client: HttpClientBuilder, url: &str) -> ArthurApi<HttpClient> {
    ArthurApi::new(BaseUrl::parse(url).unwrap(), client.build().unwrap())
}

/// The script of a server that accepts each login.
pub fn accept_login(_: &Seen) -> Response<Body> {
    cookies(&["Authorization=a.b.c"])
}

pub fn credentials() -> Credentials {
    Credentials::new(LOGIN, PASSWORD)
}

pub async fn log_in(api: ArthurApi<HttpClient>) -> Result<LoggedIn, ArthurError> {
    UserLogin::new(api).oneshot(credentials()).await
}

/// Returns the error of a login that must fail. No output of the error contains the password.
pub async fn failed_login(api: ArthurApi<HttpClient>) -> ArthurError {
    let error = log_in(api).await.expect_err("the login must fail");
    assert_hidden(&error, PASSWORD);
    error
}

/// Returns why there was no complete response.
#[track_caller]
pub fn transport_error(error: &ArthurError) -> &TransportError {
    error.transport_error().unwrap_or_else(|| panic!("not an error of the transport: {error}"))
}

/// Returns the error of a login at a server that reads the request and then behaves like `behave`.
pub async fn failed_login_at<F>(
    behave: impl Fn(TcpStream) -> F + Clone + Send + 'static,
) -> ArthurError
where
    F: Future<Output = ()> + Send + 'static,
{
    let (addr, _task) = listen(move |mut stream| {
        let behave = behave.clone();
        async move {
            read_request(&mut stream).await;
            behave(stream).await;
        }
    })
    .await;
    failed_login(api(&format!("http://{addr}"))).await
}

/// Asserts that neither the error nor one of its causes shows `secret`, in any form.
#[track_caller]
pub fn assert_hidden(error: &(dyn std::error::Error + 'static), secret: &str) {
    let mut next = Some(error);
    while let Some(error) = next {
        for shown in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
            let json = serde_json::to_string(secret).unwrap();
            let bytes = secret.as_bytes().escape_ascii().to_string();
            for form in [secret, json.trim_matches('"'), &format!("{secret:?}"), &bytes] {
                assert!(!shown.contains(form), "{shown} shows the secret");
            }
        }
        next = error.source();
    }
}

/// A self-signed certificate for `name`, and a TLS acceptor that presents it.
pub fn self_signed(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let generated = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (generated.cert.der().clone(), tls_acceptor(&generated.cert, &generated.signing_key))
}

/// A TLS acceptor that presents one certificate and offers HTTP/2 and HTTP/1.1.
pub fn tls_acceptor(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> TlsAcceptor {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Runs one test of this program again, with these environment variables.
#[track_caller]
pub fn passes_with(variables: &[(&str, &str)], test: &str) {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && output.contains("1 passed"), "{output}");
}
