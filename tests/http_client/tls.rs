//! Which certificates the client accepts, and what it shows of them.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_auth_refresh::{
    arthur::{Credentials, UserLogin},
    http_client::HttpClient,
    transport::TransportConfig,
};

use crate::support::*;

/// The advice to add a root.
const ADVICE: &str = "add_root_certificate";

fn parameters(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// A self-signed certificate of an authority, as `openssl req -x509` creates it.
fn self_signed_authority(
    mut parameters: CertificateParams,
) -> (CertificateDer<'static>, TlsAcceptor) {
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.der().clone(), tls_acceptor(&certificate, &key))
}

/// Collects events and spans.
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

#[tokio::test]
async fn self_signed_certificate_is_error_with_advice() {
    let (_, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, accept_login).await;
    let error = failed_login(api(&server.url())).await;
    let cause = transport_error(&error);
    assert!(cause.is_tls(), "{error}");
    assert!(!cause.is_connect() && !cause.is_protocol() && !cause.is_timeout());
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert!(error.to_string().contains(ADVICE), "{error}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn certificate_for_other_host_is_error_without_advice() {
    let (certificate, acceptor) = self_signed("arthur.example");
    let server = Script::start_tls(acceptor, accept_login).await;
    let client = HttpClient::builder().add_root_certificate(certificate);
    let error = failed_login(api_with(client, &server.url())).await;
    assert!(transport_error(&error).is_tls(), "{error}");
    assert!(error.to_string().contains("localhost"), "{error}");
    assert!(!error.to_string().contains(ADVICE), "{error}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn added_certificate_is_trusted() {
    let (certificate, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, accept_login).await;
    let client = HttpClient::builder().add_root_certificate(certificate);
    let login = log_in(api_with(client, &server.url())).await.unwrap();
    assert_eq!(login.token.header_value(), "a.b.c");
    assert_eq!(server.seen()[0].version, http::Version::HTTP_2, "by ALPN");
}

#[tokio::test]
async fn added_authority_certificate_is_trusted_as_server_certificate() {
    let (certificate, acceptor) = self_signed_authority(parameters("localhost"));
    let server = Script::start_tls(acceptor, accept_login).await;
    let error = failed_login(api(&server.url())).await;
    assert!(error.to_string().contains(ADVICE), "{error}");
    let client = HttpClient::builder().add_root_certificate(certificate);
    log_in(api_with(client, &server.url())).await.unwrap();
}

#[tokio::test]
async fn added_server_certificate_is_trusted_without_its_issuer() {
    let issuer = Issuer::new(parameters("authority"), KeyPair::generate().unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate = parameters("localhost").signed_by(&key, &issuer).unwrap();
    let server = Script::start_tls(tls_acceptor(&certificate, &key), accept_login).await;
    let client = HttpClient::builder().add_root_certificate(certificate.der().clone());
    log_in(api_with(client, &server.url())).await.unwrap();
}

#[tokio::test]
async fn added_certificate_must_be_valid_for_host_and_date() {
    let mut expired = parameters("localhost");
    expired.not_after = date_time_ymd(2001, 1, 1);
    expired.not_before = date_time_ymd(2000, 1, 1);
    let mut future = parameters("localhost");
    future.not_before = date_time_ymd(4000, 1, 1);
    future.not_after = date_time_ymd(4001, 1, 1);
    for (parameters, why) in [
        (expired, "expired"),
        (future, "not valid yet"),
        (parameters("arthur.example"), "localhost"),
    ] {
        let (certificate, acceptor) = self_signed_authority(parameters);
        let server = Script::start_tls(acceptor, accept_login).await;
        for client in
            [HttpClient::builder(), HttpClient::builder().add_root_certificate(certificate)]
        {
            let error = failed_login(api_with(client, &server.url())).await;
            assert!(transport_error(&error).is_tls(), "{error}");
            assert!(error.to_string().contains(why), "{why}: {error}");
            assert!(!error.to_string().contains(ADVICE), "{error}");
        }
        assert_eq!(server.seen().len(), 0);
    }
}

#[tokio::test]
async fn other_certificate_with_name_of_added_one_is_rejected() {
    let (added, _) = self_signed_authority(parameters("localhost"));
    let (_, acceptor) = self_signed_authority(parameters("localhost"));
    let server = Script::start_tls(acceptor, accept_login).await;
    let client = HttpClient::builder().add_root_certificate(added);
    let error = failed_login(api_with(client, &server.url())).await;
    assert!(transport_error(&error).is_tls(), "{error}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn invalid_certificates_are_accepted_on_demand() {
    for name in ["localhost", "arthur.example"] {
        let (_, acceptor) = self_signed(name);
        let server = Script::start_tls(acceptor, accept_login).await;
        let client = HttpClient::builder().danger_accept_invalid_certs(true);
        log_in(api_with(client, &server.url())).await.unwrap();
    }
}

#[test]
fn environment_does_not_restore_verification() {
    let bundle = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-bundle.pem");
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    passes_with(
        &variables.map(|name| (name, bundle)),
        "tls::invalid_certificates_are_accepted_on_demand",
    );
}

#[test]
fn invalid_root_certificate_fails_build() {
    let nonsense = CertificateDer::from(vec![1, 2, 3]);
    let error = HttpClient::builder().add_root_certificate(nonsense).build();
    assert!(error.is_err());
}

#[tokio::test]
async fn client_without_trust_roots_serves_http() {
    let server = Script::start(accept_login).await;
    log_in(api(&server.url())).await.unwrap();

    let (_, acceptor) = self_signed("localhost");
    let tls = Script::start_tls(acceptor, accept_login).await;
    let error = failed_login(api(&tls.url())).await;
    assert!(transport_error(&error).is_tls(), "{error}");
    let why = if std::env::var_os("NO_ROOTS").is_some() {
        "trust roots missing"
    } else {
        "UnknownIssuer"
    };
    assert!(error.to_string().contains(why), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn system_without_trust_roots_rejects_certificates() {
    let none = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-roots");
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR", "NO_ROOTS"];
    passes_with(&variables.map(|name| (name, none)), "tls::client_without_trust_roots_serves_http");
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn accepting_invalid_certificates_logs_one_warning() {
    let log = Log::default();
    let _guard = log.collect();
    let (_, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, accept_login).await;
    let api = api_with(HttpClient::builder().danger_accept_invalid_certs(true), &server.url());
    let warnings = |log: &Log| log.text().matches("certificate verification disabled").count();
    assert_eq!(warnings(&log), 1, "{}", log.text());
    assert!(log.text().contains("WARN tower_auth_refresh"), "{}", log.text());

    log_in(api.clone()).await.unwrap();
    log_in(api).await.unwrap();
    assert_eq!(warnings(&log), 1);

    let _ = api_with(HttpClient::builder(), &server.url());
    assert_eq!(warnings(&log), 1);
}

#[tokio::test]
async fn client_traces_no_secret() {
    let log = Log::default();
    let _guard = log.collect();
    let (_, acceptor) = self_signed("localhost");
    let tls = Script::start_tls(acceptor, |_| cookies(&["Authorization=t0ken"])).await;
    let plain = Script::start(|_| cookies(&["Authorization=t0ken"])).await;
    for url in [tls.url(), plain.url()] {
        let api = api_with(HttpClient::builder().danger_accept_invalid_certs(true), &url);
        let token = log_in(api.clone()).await.unwrap().token;
        let me = tower_auth_refresh::arthur::GetAuthInfo::new(api);
        me.oneshot(token).await.unwrap_err();
    }
    let text = log.text();
    assert!(text.contains("peer=Client"), "the client is traced");
    for line in text.lines() {
        // A server on the same thread traces too.
        if !line.contains("peer=Server") {
            assert!(!line.contains("t0ken") && !line.contains("sw0rd"), "{line}");
        }
    }
}

#[tokio::test]
async fn short_password_is_not_redacted_in_local_texts() {
    let (_, acceptor) = self_signed("localhost");
    let server = Script::start_tls(acceptor, accept_login).await;
    let login = UserLogin::new(api(&server.url()));
    let error = login.oneshot(Credentials::new(LOGIN, "e")).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate: UnknownIssuer"), "{error}");

    // The names in a certificate come from the server.
    let (certificate, acceptor) = self_signed("password.example");
    let server = Script::start_tls(acceptor, accept_login).await;
    let login = UserLogin::new(api_with(
        HttpClient::builder().add_root_certificate(certificate),
        &server.url(),
    ));
    let error = login.oneshot(Credentials::new(LOGIN, "password")).await.unwrap_err();
    assert!(error.to_string().contains("[redacted].example"), "{error}");
    assert_hidden(&error, "password");
}

#[tokio::test]
async fn hanging_tls_handshake_times_out() {
    let (addr, _task) = listen(|kept| async move {
        pending::<()>().await;
        drop(kept);
    })
    .await;
    let api = api(&format!("https://{addr}"))
        .transport_config(TransportConfig::new().timeout(Duration::from_millis(100)));
    let error = failed_login(api).await;
    assert!(transport_error(&error).is_timeout(), "{error}");
}

#[tokio::test]
async fn connection_closed_in_handshake_is_closed_error() {
    let (addr, _task) = listen(|mut stream| async move {
        // Read, so that it is closed and not reset.
        let mut hello = [0; 16 << 10];
        let _ = stream.read(&mut hello).await;
    })
    .await;
    let error = failed_login(api(&format!("https://{addr}"))).await;
    let cause = transport_error(&error);
    assert!(cause.is_closed() && !cause.is_tls(), "{error}");
}
