//! [`Listener`]: the HTTP server on the loopback that receives the redirect.

use std::{
    convert::Infallible,
    future::ready,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::redirect::{Redirect, RedirectCheck};

/// How many connections are open at once. Browsers open a few in advance.
const MAX_CONNECTIONS: usize = 32;
/// The time limit of a connection. An idle one must not block others for longer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit of a request's head, which contains the cookies of all servers on the loopback.
const MAX_HEAD: usize = 64 << 10;
/// The pause after the operating system has refused a connection, if it has too many open files for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

macro_rules! page {
    ($title:literal, $text:literal) => {
        concat!(
            "<!DOCTYPE html><html lang=\"en\"><title>",
            $title,
            "</title><h1>",
            $title,
            "</h1><p>",
            $text,
            "</p></html>\n"
        )
    };
}

// The client still has to exchange the code, so the page does not state that the login has succeeded.
const RECEIVED: &str =
    page!("Login received", "You can close this page and return to the application.");
const FAILED: &str =
    page!("Login failed", "You can close this page. The application shows the reason.");
const IGNORED: &str = page!("Not found", "This page is not part of a login.");

/// Accepts connections until it is dropped.
pub(super) struct Listener(TcpListener);

impl Listener {
    pub(super) async fn bind(address: SocketAddr) -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        Ok((Self(listener), port))
    }

    /// Waits for the redirect. Any other request gets an error response.
    pub(super) async fn receive(self, check: RedirectCheck) -> Redirect {
        let check = Arc::new(check);
        let mut connections = JoinSet::new();
        loop {
            let has_capacity = connections.len() < MAX_CONNECTIONS;
            tokio::select! {
                Some(ended) = connections.join_next() => {
                    if let Ok(Some(redirect)) = ended {
                        return redirect;
                    }
                }
                accepted = self.0.accept(), if has_capacity => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, check.clone()));
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }
}

/// Responds to one request. Returns the redirect once the browser has received the page.
async fn serve(stream: TcpStream, check: Arc<RedirectCheck>) -> Option<Redirect> {
    let received = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        let (status, page) = match check.check(request.method(), request.uri()) {
            Ok(redirect) => {
                let page = match redirect {
                    Ok(_) => (StatusCode::OK, RECEIVED),
                    Err(_) => (StatusCode::BAD_REQUEST, FAILED),
                };
                let _ = received.set(redirect);
                page
            }
            Err(status) => (status, IGNORED),
        };
        ready(Ok::<_, Infallible>(response(status, page)))
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // If the browser has closed the connection, the redirect still counts.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
    received.into_inner()
}

fn response(status: StatusCode, page: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(page));
    *response.status_mut() = status;
    response.headers_mut().extend(HEADERS);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}
