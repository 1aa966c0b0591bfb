//! What is promised of an exchange that goes wrong below HTTP, each against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::*;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::{BoxError, ServiceExt, service_fn};
use tower_auth_refresh::{
    arthur::{ArthurApi, ArthurError, BaseUrl, UserLogin},
    http_client::{HttpClient, HttpClientBuilder},
};

fn answer(_: &Seen) -> Response<Body> {
    cookies(&["Authorization=a.b.c"])
}

fn with(client: HttpClientBuilder, url: &str) -> ArthurApi<HttpClient> {
    ArthurApi::new(BaseUrl::parse(url).unwrap(), client.build().unwrap())
}

/// The error of a login at a server that reads it and then behaves like `behave`.
async fn raw<F>(behave: impl Fn(tokio::net::TcpStream) -> F + Clone + Send + 'static) -> ArthurError
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

// TLS

#[tokio::test]
async fn a_self_signed_certificate_is_a_tls_error_that_says_why_and_what_to_do() {
    let (_, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, answer).await;
    let error = failed_login(api(&server.url())).await;
    assert!(error.is_tls(), "{error}");
    assert!(!error.is_connect() && !error.is_protocol() && !error.is_timeout());
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert!(error.to_string().contains("verify_ssl"), "{error}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_a_tls_error_that_says_why() {
    let (certificate, acceptor) = self_signed("arthur.example");
    let server = Script::start_tls(acceptor, answer).await;
    let client = HttpClient::builder().add_root_certificate(certificate);
    let error = failed_login(with(client, &server.url())).await;
    assert!(error.is_tls(), "{error}");
    assert!(error.to_string().contains("localhost"), "{error}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_certificate_that_was_added_is_trusted() {
    let (certificate, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, answer).await;
    let client = HttpClient::builder().add_root_certificate(certificate);
    let login = log_in(with(client, &server.url())).await.unwrap();
    assert_eq!(login.token.header_value(), "a.b.c");
    assert_eq!(server.seen()[0].version, http::Version::HTTP_2, "by ALPN");
}

#[tokio::test]
async fn verify_ssl_false_is_honoured() {
    for name in ["localhost", "arthur.example"] {
        let (_, acceptor) = self_signed(name);
        let server = Script::start_tls(acceptor, answer).await;
        let client = HttpClient::builder().danger_accept_invalid_certs(true);
        log_in(with(client, &server.url())).await.unwrap();
    }
}

#[test]
fn verify_ssl_false_is_not_overridden_by_the_environment() {
    let bundle = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-bundle.pem");
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    passes_with(&variables.map(|name| (name, bundle)), "transport::verify_ssl_false_is_honoured");
}

#[test]
fn a_root_certificate_that_is_none_is_an_error_at_construction() {
    let nonsense = CertificateDer::from(vec![1, 2, 3]);
    let error = HttpClient::builder().add_root_certificate(nonsense).build();
    assert!(error.is_err());
}

#[tokio::test]
async fn a_client_is_built_without_trust_roots() {
    let server = Script::start(answer).await;
    log_in(api(&server.url())).await.unwrap();

    let (_, acceptor) = self_signed("localhost");
    let tls = Script::start_tls(acceptor, answer).await;
    let error = failed_login(api(&tls.url())).await;
    assert!(error.is_tls(), "{error}");
    let why = if std::env::var_os("NO_ROOTS").is_some() { "has no trust roots" } else { "UnknownIssuer" };
    assert!(error.to_string().contains(why), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_without_trust_roots_has_plain_http_and_certificate_errors() {
    let none = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-roots");
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR", "NO_ROOTS"];
    passes_with(&variables.map(|name| (name, none)), "transport::a_client_is_built_without_trust_roots");
}

/// What is logged, by level and text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn collect(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn verify_ssl_false_logs_one_warning_and_at_construction() {
    let log = Log::default();
    let _guard = log.collect();
    let (_, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, answer).await;
    let api = with(HttpClient::builder().danger_accept_invalid_certs(true), &server.url());
    let warnings = |log: &Log| log.text().matches("certificate verification disabled").count();
    assert_eq!(warnings(&log), 1, "{}", log.text());
    assert!(log.text().contains("WARN tower_auth_refresh"), "{}", log.text());

    log_in(api.clone()).await.unwrap();
    log_in(api).await.unwrap();
    assert_eq!(warnings(&log), 1);

    let _ = with(HttpClient::builder(), &server.url());
    assert_eq!(warnings(&log), 1);
}

#[tokio::test]
async fn no_secret_is_traced() {
    let log = Log::default();
    let _guard = log.collect();
    let (_, acceptor) = self_signed("localhost");
    let tls = Script::start_tls(acceptor, |_| cookies(&["Authorization=t0ken"])).await;
    let plain = Script::start(|_| cookies(&["Authorization=t0ken"])).await;
    for url in [tls.url(), plain.url()] {
        let api = with(HttpClient::builder().danger_accept_invalid_certs(true), &url);
        let token = log_in(api.clone()).await.unwrap().token;
        let me = tower_auth_refresh::arthur::GetAuthInfo::new(api);
        me.oneshot(token).await.unwrap_err();
    }
    let text = log.text();
    assert!(text.contains("peer=Client"), "the client is traced");
    for line in text.lines() {
        // What a server on the same thread traces is not the client's.
        if !line.contains("peer=Server") {
            assert!(!line.contains("t0ken") && !line.contains("sw0rd"), "{line}");
        }
    }
}

// The connection

#[tokio::test]
async fn https_to_a_plain_port_is_a_protocol_error() {
    let server = Script::start(answer).await;
    let url = server.url().replace("http:", "https:");
    let error = failed_login(api(&url)).await;
    assert!(error.is_protocol(), "{error}");
    assert!(!error.is_tls() && !error.is_connect());
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn http_to_a_tls_port_is_a_protocol_error() {
    let (_, acceptor) = self_signed("localhost");
    let (addr, _task) = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // The stream is kept, so that the alert is not lost to a reset.
            let refused = acceptor.accept(stream).into_fallible().await;
            assert!(refused.is_err());
            pending::<()>().await;
        }
    })
    .await;
    let error = failed_login(api(&format!("http://{addr}"))).await;
    assert!(error.is_protocol(), "{error}");
    assert!(error.to_string().contains("not HTTP"), "{error}");
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_error() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let error = failed_login(api(&format!("http://127.0.0.1:{port}"))).await;
    assert!(error.is_connect(), "{error}");
    assert!(!error.is_dns() && !error.is_tls());
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_name_that_is_not_resolved_is_a_dns_error() {
    // Too long for a label, so that no resolver has to be asked.
    let url = format!("http://{}.invalid", "a".repeat(64));
    let base_url = BaseUrl::danger_parse_plaintext(&url).unwrap();
    let error = failed_login(ArthurApi::new(base_url, client())).await;
    assert!(error.is_dns() && error.is_connect(), "{error}");
    assert!(error.to_string().contains("DNS"), "{error}");
}

#[tokio::test]
async fn a_reset_connection_is_told_apart() {
    let error = raw(|stream| async move { stream.set_zero_linger().unwrap() }).await;
    assert!(error.is_closed(), "{error}");
    assert!(!error.is_connect());
    assert!(error.to_string().contains("reset"), "{error}");
}

#[tokio::test]
async fn a_connection_closed_early_is_told_apart() {
    for part in [
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\nSet-Cookie: Authorization=a.b.c\r\nContent-Length: 100\r\n\r\nten bytes.",
    ] {
        let error = raw(move |mut stream| async move {
            stream.write_all(part.as_bytes()).await.unwrap();
        })
        .await;
        assert!(error.is_closed(), "{part:?}: {error}");
        assert!(error.to_string().contains("closed the connection"), "{error}");
    }
}

#[tokio::test]
async fn any_other_trouble_shows_its_innermost_cause_without_the_password() {
    let http = service_fn(|_: Request<Full<Bytes>>| async {
        let cause = std::io::Error::other(format!("the {PASSWORD} tube is blocked"));
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other(cause))
    });
    let api = ArthurApi::new(BaseUrl::parse("arthur.example").unwrap(), http);
    let error = UserLogin::new(api).oneshot(credentials()).await.unwrap_err();
    assert!(error.to_string().ends_with("the [redacted] tube is blocked"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert_hidden(&error, PASSWORD);
    assert!(!error.is_connect() && !error.is_closed() && !error.is_timeout());
}

#[tokio::test]
async fn an_http_2_connection_that_breaks_is_an_error_with_a_cause_and_without_a_secret() {
    const TOKEN: &str = "t0ken-of-the-test";
    let (certificate, acceptor) = self_signed("localhost");
    let said = format!("{PASSWORD} {} {TOKEN}", serde_json::to_string(PASSWORD).unwrap());
    let server = GoAway::start(acceptor, &said).await;
    let api = with(HttpClient::builder().add_root_certificate(certificate), &server.url());
    let error = failed_login(api.clone()).await;
    assert!(error.to_string().contains("excessive load"), "{error}");
    assert!(error.to_string().contains("[redacted]"), "the data is shown: {error}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(!error.to_string().contains("fish"), "{error}");

    let token = tower_auth_refresh::AccessToken::raw(TOKEN).unwrap();
    let error = tower_auth_refresh::arthur::GetAuthInfo::new(api).oneshot(token).await.unwrap_err();
    assert!(error.to_string().contains("excessive load"), "{error}");
    assert_hidden(&error, TOKEN);
}

#[tokio::test]
async fn a_connection_closed_amid_the_tls_handshake_is_told_apart() {
    let (addr, _task) = listen(|mut stream| async move {
        // Read, so that it is closed and not reset.
        let mut hello = [0; 16 << 10];
        let _ = stream.read(&mut hello).await;
    })
    .await;
    let error = failed_login(api(&format!("https://{addr}"))).await;
    assert!(error.is_closed() && !error.is_tls(), "{error}");
}

// Limits

#[tokio::test]
async fn a_server_that_hangs_meets_the_deadline() {
    let (addr, _task) = listen(|mut stream| async move {
        read_request(&mut stream).await;
        pending::<()>().await;
    })
    .await;
    let api = api(&format!("http://{addr}")).timeout(Duration::from_millis(100));
    let error = failed_login(api).await;
    assert!(error.is_timeout(), "{error}");
    assert!(error.to_string().contains("100ms"), "{error}");
}

#[tokio::test]
async fn a_refusal_whose_body_hangs_is_still_that_refusal() {
    for (code, wrong) in [(401, true), (403, true), (429, false), (500, false)] {
        let (addr, _task) = listen(move |mut stream| async move {
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 {code} No\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\nfirst");
            stream.write_all(head.as_bytes()).await.unwrap();
            pending::<()>().await;
        })
        .await;
        let start = std::time::Instant::now();
        let error = failed_login(api(&format!("http://{addr}")).timeout(Duration::from_millis(100))).await;
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(error.status().map(|status| status.as_u16()), Some(code), "{error}");
        assert_eq!(error.is_wrong_credentials(), wrong);
        assert!(!error.is_timeout());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_apart_from_what_is_not_http() {
    for head in ["X: y\r\n".repeat(200), format!("X: {}\r\n", "y".repeat(1_000_000))] {
        let error = raw(move |mut stream| {
            let head = head.clone();
            async move {
                let answer = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                pending::<()>().await;
            }
        })
        .await;
        assert!(error.is_too_large() && !error.is_protocol(), "{error}");
        assert!(error.to_string().contains("the answer's head is too large"), "{error}");
    }
}

#[tokio::test]
async fn a_short_password_does_not_garble_what_is_made_here() {
    let (_, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, answer).await;
    let login = UserLogin::new(api(&server.url()));
    let error = login.oneshot(tower_auth_refresh::arthur::Credentials::new(LOGIN, "e")).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate: UnknownIssuer"), "{error}");

    // The names in a certificate are the server's words.
    let (certificate, acceptor) = self_signed("password.example");
    let server = Script::start_tls(acceptor, answer).await;
    let login = UserLogin::new(with(HttpClient::builder().add_root_certificate(certificate), &server.url()));
    let error = login.oneshot(tower_auth_refresh::arthur::Credentials::new(LOGIN, "password")).await.unwrap_err();
    assert!(error.to_string().contains("[redacted].example"), "{error}");
    assert_hidden(&error, "password");
}

#[tokio::test]
async fn what_holds_a_secret_is_marked_sensitive_by_the_client() {
    let server = Script::start(answer).await;
    let request = Request::get(server.url()).body(Full::default()).unwrap();
    let response = client().oneshot(request).await.unwrap();
    assert!(response.headers()["set-cookie"].is_sensitive());
}

#[tokio::test]
async fn a_tls_server_that_hangs_meets_the_deadline() {
    let (addr, _task) = listen(|kept| async move {
        pending::<()>().await;
        drop(kept);
    })
    .await;
    let api = api(&format!("https://{addr}")).timeout(Duration::from_millis(100));
    assert!(failed_login(api).await.is_timeout());
}

#[tokio::test]
async fn a_server_that_drips_a_byte_every_20_ms_meets_the_deadline() {
    let server = Script::start(|_| {
        let drops = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" ")))
        });
        cookies(&["Authorization=a.b.c"]).map(|_| BodyExt::boxed(StreamBody::new(drops)))
    })
    .await;
    let api = api(&server.url()).timeout(Duration::from_millis(200));
    assert!(failed_login(api).await.is_timeout());
}

#[tokio::test]
async fn a_head_that_drips_meets_the_deadline() {
    let (addr, _task) = listen(|mut stream| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
        for byte in head {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let api = api(&format!("http://{addr}")).timeout(Duration::from_millis(200));
    assert!(failed_login(api).await.is_timeout());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_30_seconds_and_covers_readiness_request_and_body() {
    #[derive(Clone)]
    struct NeverReady;
    impl tower::Service<Request<Full<Bytes>>> for NeverReady {
        type Response = Response<Full<Bytes>>;
        type Error = BoxError;
        type Future = std::future::Pending<Result<Self::Response, BoxError>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Pending
        }
        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let base_url = BaseUrl::parse("arthur.example").unwrap();
    let start = tokio::time::Instant::now();
    let error = UserLogin::new(ArthurApi::new(base_url.clone(), NeverReady)).oneshot(credentials()).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(start.elapsed().as_secs(), 30);

    // 20 seconds for the head and 20 for the body are each less than the deadline.
    let slow = service_fn(|_| async {
        let pause = || tokio::time::sleep(Duration::from_secs(20));
        pause().await;
        let body = stream::once(async move {
            pause().await;
            Ok::<_, Infallible>(Frame::data(Bytes::new()))
        });
        Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(body))))
    });
    let start = tokio::time::Instant::now();
    let error = UserLogin::new(ArthurApi::new(base_url, slow)).oneshot(credentials()).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn a_body_of_5_mb_is_read_up_to_the_limit_and_is_an_error() {
    let server = Script::start(|seen| answer(seen).map(|_| full(vec![b' '; 5_000_000]))).await;
    let error = failed_login(api(&server.url())).await;
    assert!(error.is_too_large(), "{error}");
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_limit_and_is_an_error() {
    let server = Script::start(|seen| {
        let frames = stream::repeat(Bytes::from_static(&[b' '; 4096]));
        let frames = frames.map(|data| Ok::<_, Infallible>(Frame::data(data)));
        answer(seen).map(|_| BodyExt::boxed(StreamBody::new(frames)))
    })
    .await;
    assert!(failed_login(api(&server.url())).await.is_too_large());
}

#[tokio::test]
async fn the_body_limit_can_be_set_and_is_inclusive() {
    let server = Script::start(|seen| answer(seen).map(|_| full("four"))).await;
    log_in(api(&server.url()).body_limit(4)).await.unwrap();
    assert!(failed_login(api(&server.url()).body_limit(3)).await.is_too_large());
}

// Dropping, readiness

#[tokio::test]
async fn dropping_a_login_closes_its_connection() {
    let (closed, mut seen) = tokio::sync::mpsc::channel(1);
    let (addr, _task) = listen(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            closed.send("asked").await.unwrap();
            read_request(&mut stream).await;
            closed.send("closed").await.unwrap();
        }
    })
    .await;
    let login = tokio::spawn(log_in(api(&format!("http://{addr}"))));
    assert_eq!(seen.recv().await, Some("asked"));
    login.abort();
    assert_eq!(seen.recv().await, Some("closed"));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let connections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&connections);
    let (addr, _task) = listen(move |mut stream| {
        *count.lock().unwrap() += 1;
        async move {
            loop {
                read_request(&mut stream).await;
                let answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: Authorization=a.b.c\r\nContent-Length: 0\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let api = api(&format!("http://{addr}"));
    for _ in 0..3 {
        log_in(api.clone()).await.unwrap();
    }
    assert_eq!(*connections.lock().unwrap(), 1);
}

#[test]
fn a_client_outlives_the_runtime_of_its_first_login() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let (_, acceptor) = self_signed("localhost");
    let plain = servers.block_on(Script::start(answer));
    let tls = servers.block_on(Script::start_tls(acceptor, answer));
    for url in [plain.url(), tls.url()] {
        let api = with(HttpClient::builder().danger_accept_invalid_certs(true), &url);
        for _ in 0..3 {
            let short = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            short.block_on(log_in(api.clone())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_clone_is_made_ready_before_it_is_called() {
    /// As tower has it, a clone is not ready though the original is.
    struct OnceReady(AtomicBool);
    impl Clone for OnceReady {
        fn clone(&self) -> Self {
            Self(AtomicBool::new(false))
        }
    }
    impl tower::Service<Request<Full<Bytes>>> for OnceReady {
        type Response = Response<Full<Bytes>>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            self.0.store(true, Ordering::SeqCst);
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            assert!(self.0.swap(false, Ordering::SeqCst), "called unready");
            let response = Response::builder().header("set-cookie", "Authorization=a.b.c");
            std::future::ready(response.body(Full::default()).map_err(Into::into))
        }
    }
    let http = OnceReady(AtomicBool::new(false));
    let api = ArthurApi::new(BaseUrl::parse("arthur.example").unwrap(), http);
    let mut login = UserLogin::new(api);
    for _ in 0..2 {
        login.ready().await.unwrap();
        tower::Service::call(&mut login, credentials()).await.unwrap();
    }
}
