//! A server that echoes the body of a request that has a valid token.

use std::{convert::Infallible, io, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::issuer::Issuer;

/// Serves on the loopback until the runtime shuts down. Returns the address.
///
/// # Errors
///
/// The listener cannot be bound.
pub async fn serve(issuer: Issuer) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let echo = move |request: Request<Incoming>| {
        let valid = request
            .headers()
            .get(AUTHORIZATION)
            .is_some_and(|header| issuer.accepts(header.as_bytes()));
        let mut response = Response::new(Either::Right(Empty::<Bytes>::new()));
        match valid {
            true => *response.body_mut() = Either::Left(request.into_body()),
            false => *response.status_mut() = StatusCode::UNAUTHORIZED,
        }
        async { Ok::<_, Infallible>(response) }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(echo.clone())),
            );
        }
    });
    Ok(addr)
}

/// Returns 10 MiB of varied bytes, to send to the server and compare with its response.
pub fn upload() -> Bytes {
    (0..10 << 20).map(|index: u32| index.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}
