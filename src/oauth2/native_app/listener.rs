//! [`Listener`]: the HTTP server on the loopback that receives the redirect.

use std::{
    convert::Infallible,
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{self, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    error_kind::NativeAppErrorKind,
    page,
    redirect::{Redirect, RedirectCheck},
};

/// How many connections are open at once. Browsers open a few in advance.
const MAX_CONNECTIONS: usize = 32;
/// The time limit of a connection. An idle one must not block others for longer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit of a request's head, which contains the cookies of all servers on the loopback.
const MAX_HEAD: usize = 64 << 10;
/// The pause after the operating system has refused a connection, if it has too many open files for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often in succession it can refuse one.
const MAX_ACCEPT_FAILURES: u32 = 30;

/// Accepts connections until it is dropped. It is not registered at a runtime until then, so that any runtime can receive.
pub(super) struct Listener(TcpListener);

/// A connection that is open.
struct Connection {
    /// Closes the connection when it is dropped.
    close: oneshot::Sender<Infallible>,
    has_sent_request: Arc<AtomicBool>,
}

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        Ok((Self(listener), port))
    }

    /// Waits for the redirect. Any other request gets an error response.
    ///
    /// At the limit, the oldest connection without a request is closed, so that those that browsers open in advance do
    /// not delay the redirect.
    pub(super) async fn receive(self, check: RedirectCheck) -> Redirect {
        let listener = net::TcpListener::from_std(self.0).map_err(NativeAppErrorKind::Listener)?;
        let check = Arc::new(check);
        let (mut tasks, mut open) = (JoinSet::new(), Vec::<Connection>::new());
        let mut failures = 0;
        loop {
            let has_capacity = tasks.len() < MAX_CONNECTIONS;
            tokio::select! {
                Some(ended) = tasks.join_next() => {
                    if let Ok(Some(redirect)) = ended {
                        return redirect;
                    }
                }
                accepted = listener.accept(), if has_capacity => match accepted {
                    Ok((stream, _)) => {
                        failures = 0;
                        let (close, closed) = oneshot::channel();
                        let has_sent_request = Arc::<AtomicBool>::default();
                        tasks.spawn(serve(stream, check.clone(), closed, has_sent_request.clone()));
                        open.retain(|connection| !connection.close.is_closed());
                        if tasks.len() == MAX_CONNECTIONS {
                            close_oldest(&mut open);
                        }
                        open.push(Connection { close, has_sent_request });
                    }
                    Err(error) => {
                        failures += 1;
                        if failures > MAX_ACCEPT_FAILURES {
                            return Err(NativeAppErrorKind::Listener(error));
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

fn close_oldest(open: &mut Vec<Connection>) {
    let has_sent_none =
        |connection: &Connection| !connection.has_sent_request.load(Ordering::Relaxed);
    if let Some(oldest) = open.iter().position(has_sent_none) {
        drop(open.remove(oldest));
    }
}

/// Responds to one request, unless the connection is closed before. Returns the redirect once the browser has received
/// the page.
async fn serve(
    stream: TcpStream,
    check: Arc<RedirectCheck>,
    closed: oneshot::Receiver<Infallible>,
    has_sent_request: Arc<AtomicBool>,
) -> Option<Redirect> {
    let received = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        has_sent_request.store(true, Ordering::Relaxed);
        let (status, page) = match check.check(request.method(), request.uri()) {
            Ok(redirect) => {
                let page = match redirect {
                    Ok(_) => (StatusCode::OK, page::RECEIVED),
                    Err(_) => (StatusCode::BAD_REQUEST, page::FAILED),
                };
                let _ = received.set(redirect);
                page
            }
            Err(StatusCode::NOT_FOUND) => (StatusCode::NOT_FOUND, page::NOT_FOUND),
            Err(status) => (status, page::IGNORED),
        };
        ready(Ok::<_, Infallible>(page::response(status, page)))
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // If either side has closed the connection, the redirect still counts.
    tokio::select! {
        _ = timeout(CONNECTION_TIMEOUT, connection) => {}
        _ = closed => {}
    }
    received.into_inner()
}

#[cfg(all(test, unix))]
mod tests {
    use std::{net::UdpSocket, os::fd::OwnedFd};

    use super::{super::secrets::State, *};

    #[tokio::test(start_paused = true)]
    async fn listener_that_fails_again_and_again_is_an_error() {
        // A socket that is ready, but cannot accept.
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = Listener(OwnedFd::from(socket).into());
        let state = State::new().ok().unwrap();
        let check = RedirectCheck { path: "/".to_owned(), state, issuer: None };
        assert!(matches!(listener.receive(check).await, Err(NativeAppErrorKind::Listener(_))));
    }
}
