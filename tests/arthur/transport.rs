//! The limits and the errors of one request.

use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncWriteExt;
use tower::{BoxError, ServiceExt, service_fn, timeout::Timeout};
use tower_auth_refresh::{
    AccessToken,
    arthur::{ArthurApi, ArthurError, BaseUrl, GetArthurInternalUserOrg, UserLogin},
    transport::{HttpService, TransportConfig},
};

use crate::support::*;

#[tokio::test]
async fn unknown_error_shows_innermost_cause_redacted() {
    let http = service_fn(|_: Request<Full<Bytes>>| async {
        let cause = std::io::Error::other(format!("the {PASSWORD} port is busy"));
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other(cause))
    });
    let api = ArthurApi::new(BaseUrl::parse("arthur.example").unwrap(), http);
    let error = UserLogin::new(api).oneshot(credentials()).await.unwrap_err();
    assert!(error.to_string().ends_with("the [redacted] port is busy"), "{error}");
    assert!(std::error::Error::source(&error).is_none(), "the text contains it");
    assert_hidden(&error, PASSWORD);
    let cause = transport_error(&error);
    assert!(!cause.is_connect() && !cause.is_closed() && !cause.is_timeout());
}

#[tokio::test]
async fn error_that_is_its_own_cause_is_cut_off() {
    #[derive(Debug)]
    struct Endless;
    impl std::fmt::Display for Endless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("endless")
        }
    }
    impl std::error::Error for Endless {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(self)
        }
    }
    let http = service_fn(|_: Request<Full<Bytes>>| async {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other(Endless))
    });
    let api = ArthurApi::new(BaseUrl::parse("arthur.example").unwrap(), http);
    let error = UserLogin::new(api).oneshot(credentials()).await.unwrap_err();
    assert!(error.to_string().ends_with("request failed: endless"), "{error}");
}

#[tokio::test]
async fn hanging_server_times_out() {
    let (addr, _task) = listen(|mut stream| async move {
        read_request(&mut stream).await;
        pending::<()>().await;
    })
    .await;
    let api = api(&format!("http://{addr}"))
        .transport_config(TransportConfig::new().timeout(Duration::from_millis(100)));
    let error = failed_login(api).await;
    assert!(transport_error(&error).is_timeout(), "{error}");
    assert!(error.to_string().contains("100ms"), "{error}");
}

#[tokio::test]
async fn error_status_counts_although_body_hangs() {
    for (code, wrong) in [(401, true), (403, true), (429, false), (500, false)] {
        let (addr, _task) = listen(move |mut stream| async move {
            read_request(&mut stream).await;
            let head =
                format!("HTTP/1.1 {code} No\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\nfirst");
            stream.write_all(head.as_bytes()).await.unwrap();
            pending::<()>().await;
        })
        .await;
        let start = std::time::Instant::now();
        let error = failed_login(
            api(&format!("http://{addr}"))
                .transport_config(TransportConfig::new().timeout(Duration::from_millis(100))),
        )
        .await;
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(error.status().map(|status| status.as_u16()), Some(code), "{error}");
        assert_eq!(error.is_wrong_credentials(), wrong);
        assert!(error.transport_error().is_none());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn large_head_is_too_large_and_no_protocol_error() {
    for head in ["X: y\r\n".repeat(200), format!("X: {}\r\n", "y".repeat(1_000_000))] {
        let error = failed_login_at(move |mut stream| {
            let head = head.clone();
            async move {
                let response = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 0\r\n\r\n");
                let _ = stream.write_all(response.as_bytes()).await;
                pending::<()>().await;
            }
        })
        .await;
        let cause = transport_error(&error);
        assert!(cause.is_too_large() && !cause.is_protocol(), "{error}");
        assert!(error.to_string().contains("response head too large"), "{error}");
    }
}

#[tokio::test]
async fn dripping_body_times_out() {
    let server = Script::start(|_| {
        let drops = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" ")))
        });
        cookies(&["Authorization=a.b.c"]).map(|_| BodyExt::boxed(StreamBody::new(drops)))
    })
    .await;
    let api = api(&server.url())
        .transport_config(TransportConfig::new().timeout(Duration::from_millis(200)));
    let error = failed_login(api).await;
    assert!(transport_error(&error).is_timeout(), "{error}");
}

#[tokio::test]
async fn dripping_head_times_out() {
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
    let api = api(&format!("http://{addr}"))
        .transport_config(TransportConfig::new().timeout(Duration::from_millis(200)));
    let error = failed_login(api).await;
    assert!(transport_error(&error).is_timeout(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn timeout_is_30_seconds_from_readiness_to_body() {
    #[derive(Clone)]
    struct NeverReady;
    impl tower::Service<Request<Full<Bytes>>> for NeverReady {
        type Response = Response<Full<Bytes>>;
        type Error = BoxError;
        type Future = std::future::Pending<Result<Self::Response, BoxError>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Pending
        }
        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let base_url = BaseUrl::parse("arthur.example").unwrap();
    let start = tokio::time::Instant::now();
    let error = UserLogin::new(ArthurApi::new(base_url.clone(), NeverReady))
        .oneshot(credentials())
        .await
        .unwrap_err();
    assert!(transport_error(&error).is_timeout());
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
    let error =
        UserLogin::new(ArthurApi::new(base_url, slow)).oneshot(credentials()).await.unwrap_err();
    assert!(transport_error(&error).is_timeout());
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn large_body_is_error_at_limit() {
    let server =
        Script::start(|seen| accept_login(seen).map(|_| full(vec![b' '; 5_000_000]))).await;
    let error = failed_login(api(&server.url())).await;
    assert!(transport_error(&error).is_too_large(), "{error}");
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
}

#[tokio::test]
async fn endless_body_is_error_at_limit() {
    let server = Script::start(|seen| {
        let frames = stream::repeat(Bytes::from_static(&[b' '; 4096]));
        let frames = frames.map(|data| Ok::<_, Infallible>(Frame::data(data)));
        accept_login(seen).map(|_| BodyExt::boxed(StreamBody::new(frames)))
    })
    .await;
    let error = failed_login(api(&server.url())).await;
    assert!(transport_error(&error).is_too_large(), "{error}");
}

#[tokio::test]
async fn body_limit_is_inclusive() {
    let server = Script::start(|seen| accept_login(seen).map(|_| full("four"))).await;
    log_in(api(&server.url()).transport_config(TransportConfig::new().body_limit(4)))
        .await
        .unwrap();
    let error =
        failed_login(api(&server.url()).transport_config(TransportConfig::new().body_limit(3)))
            .await;
    assert!(transport_error(&error).is_too_large(), "{error}");
}

/// Logs in over this HTTP service, with a timeout of 50 ms.
async fn failed_login_over(http: impl HttpService) -> ArthurError {
    let api = ArthurApi::new(BaseUrl::parse("arthur.example").unwrap(), http)
        .transport_config(TransportConfig::new().timeout(Duration::from_millis(50)));
    let login = UserLogin::new(api).oneshot(credentials());
    tokio::time::timeout(Duration::from_secs(60), login).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn body_of_empty_frames_times_out_although_it_is_always_ready() {
    let error = failed_login_over(service_fn(|_: Request<Full<Bytes>>| async {
        let frames = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::new())));
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
    }))
    .await;
    assert!(transport_error(&error).is_timeout(), "{error}");
}

#[tokio::test]
async fn limit_of_the_http_service_is_not_that_of_the_login() {
    let error = failed_login_over(service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Limited::new(Full::<Bytes>::from("four"), 3)))
    }))
    .await;
    assert!(error.to_string().ends_with("request failed: length limit exceeded"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn timeout_of_the_http_service_is_a_timeout() {
    let never = || {
        service_fn(|_: Request<Full<Bytes>>| pending::<Result<Response<Full<Bytes>>, BoxError>>())
    };
    let limit = Duration::from_millis(10);
    let error = failed_login_over(Timeout::new(never(), limit)).await;
    assert!(transport_error(&error).is_timeout(), "{error}");
    assert!(error.to_string().ends_with("HTTP service timed out"), "{error}");

    let error = failed_login_over(service_fn(move |request| async move {
        tokio::time::timeout(limit, never().oneshot(request)).await?
    }))
    .await;
    assert!(transport_error(&error).is_timeout(), "{error}");
    assert!(error.to_string().ends_with("HTTP service timed out"), "{error}");
}

#[tokio::test]
async fn retry_after_of_a_redirect_is_returned() {
    let error = failed_login_over(service_fn(|_: Request<Full<Bytes>>| async {
        let redirect = Response::builder().status(307).header("location", "https://down.example/");
        redirect.header("retry-after", "120").body(Full::<Bytes>::default())
    }))
    .await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn clone_is_ready_before_call() {
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
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
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

// The body

#[tokio::test]
async fn request_accepts_json_without_content_coding() {
    let server = Script::start(accept_login).await;
    log_in(api(&server.url())).await.unwrap();
    let headers = &server.seen()[0].headers;
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(headers["accept-encoding"], "identity");
    let client = concat!("tower-auth-refresh/", env!("CARGO_PKG_VERSION"));
    assert_eq!(headers["user-agent"], client);
}

#[tokio::test]
async fn content_coding_of_response_is_error_with_its_name() {
    let coded = |code, coding: &'static str, body| {
        Script::start(move |_| {
            let mut response = status(code, body);
            response.headers_mut().insert("content-encoding", coding.parse().unwrap());
            response.headers_mut().insert("set-cookie", "Authorization=a.b.c".parse().unwrap());
            response
        })
    };
    let server = coded(200, "gzip", "\u{1f}binary").await;
    let error = failed_login(api(&server.url())).await;
    assert!(transport_error(&error).is_protocol(), "{error}");
    assert!(error.to_string().contains("content coding gzip"), "{error}");

    // A secret in this header is not shown either.
    let server = coded(200, "sw0rd\"fish\\\u{e9}", "binary").await;
    failed_login(api(&server.url())).await;

    // The status says enough.
    let server = coded(401, "gzip", "\u{1f}binary").await;
    let error = failed_login(api(&server.url())).await;
    assert!(error.is_wrong_credentials() && !error.to_string().contains("binary"), "{error}");

    for (coding, body) in [("identity", "{}"), ("Identity", "{}"), ("gzip", "")] {
        let server = coded(200, coding, body).await;
        log_in(api(&server.url())).await.unwrap();
    }
}

#[tokio::test]
async fn byte_order_mark_before_json_is_skipped() {
    let server = Script::start(|_| status(200, "\u{feff}{\"organization_id\":\"o\"}")).await;
    let token = AccessToken::raw("t0ken").unwrap();
    let organization = GetArthurInternalUserOrg::new(api(&server.url())).oneshot(token).await;
    assert_eq!(organization.unwrap(), "o");
}
