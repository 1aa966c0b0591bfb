//! [`Connections`]: chooses the connection for a request.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Builder, Client, Error, ResponseFuture};
use tower_service::Service;

use super::connector::Connector;

/// A request extension: sends the request on a new connection, which serves no other request.
///
/// A server can close an idle connection at the moment when the next request is sent. That request then fails without a
/// response, and must not be sent again unless it is idempotent (RFC 9110, section 9.2.2; RFC 9112, section 9.3.1). An
/// idle connection can also be dead without a sign of it. A new connection avoids both.
///
/// The ready-made logins send each of their requests with this extension. A login of your own can do the same:
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower_auth_refresh::http_client::NewConnection;
///
/// # fn main() -> Result<(), http::Error> {
/// let body = Full::new(Bytes::from_static(b"grant_type=client_credentials"));
/// let request = Request::post("https://issuer.example/token").extension(NewConnection).body(body)?;
/// assert!(request.extensions().get::<NewConnection>().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewConnection;

/// Two clients that differ in their pools only.
#[derive(Clone)]
pub(super) struct Connections {
    pooled: Client<Connector, Full<Bytes>>,
    unpooled: Client<Connector, Full<Bytes>>,
}

impl Connections {
    pub(super) fn new(mut builder: Builder, connector: Connector) -> Self {
        let pooled = builder.build(connector.clone());
        let unpooled = builder.pool_max_idle_per_host(0).build(connector);
        Self { pooled, unpooled }
    }
}

impl Service<Request<Full<Bytes>>> for Connections {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = ResponseFuture;

    /// Returns ready: both clients always are.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> ResponseFuture {
        let client = match request.extensions().get::<NewConnection>() {
            Some(NewConnection) => &self.unpooled,
            None => &self.pooled,
        };
        client.request(request)
    }
}
