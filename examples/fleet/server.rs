//! The issuer of the tokens, and the API that verifies them.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, time::sleep};

use super::counts::Counts;

/// How long a login takes.
const LOGIN_TIME: Duration = Duration::from_millis(200);

/// Serves on the loopback until the runtime shuts down. Returns the address.
pub(crate) async fn serve(counts: Counts, lifetime: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let handle = move |request: Request<Incoming>| {
        let counts = counts.clone();
        async move { Ok::<_, Infallible>(respond(&request, &counts, lifetime).await) }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = handle.clone();
            tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(handle)),
            );
        }
    });
    Ok(address)
}

/// Responds to `/login/<process>/<sent at>`, `/report/<process>/<requests>/<failed>` and `/api`.
async fn respond(
    request: &Request<Incoming>,
    counts: &Counts,
    lifetime: Duration,
) -> Response<Full<Bytes>> {
    let mut path = request.uri().path().split('/').skip(1);
    let name = path.next();
    let numbers: Vec<u64> = path.filter_map(|number| number.parse().ok()).collect();
    match (name, numbers.as_slice()) {
        (Some("login"), [process, sent_at]) => {
            let sent_at = SystemTime::UNIX_EPOCH + Duration::from_micros(*sent_at);
            let login = counts.start_login(usize::try_from(*process).unwrap_or_default(), sent_at);
            sleep(LOGIN_TIME).await;
            let token = login.complete();
            let body = json!({ "access_token": token, "expires_in": lifetime.as_secs() });
            Response::new(Full::from(body.to_string()))
        }
        (Some("report"), [process, requests, failed]) => {
            counts.report(usize::try_from(*process).unwrap_or_default(), *requests, *failed);
            Response::new(Full::default())
        }
        (Some("api"), []) => {
            let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            let token = header.and_then(|header| header.strip_prefix("Bearer "));
            let mut response = Response::new(Full::default());
            if !token.is_some_and(|token| counts.accepts(token)) {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            response
        }
        _ => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
