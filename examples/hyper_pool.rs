//! The layer on a pool that is composed of hyper-util's parts, for eight seconds with tokens that live for two:
//!
//! ```sh
//! cargo run --example hyper_pool
//! ```
//!
//! A `Map` has a `Cache` of connections for each origin. A map is no service, since it cannot tell whose readiness to ask for
//! before it has seen the request; [`pool`] makes it one. The layer goes above it: a connection speaks of paths, and the layer
//! must see where the token goes.

use std::{
    future::Future,
    pin::Pin,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::{
    client::{
        legacy::connect::HttpConnector,
        pool::{cache, map::Map},
    },
    rt::TokioExecutor,
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, ReplayClone};

#[path = "echo/mod.rs"]
mod echo;
#[path = "issuer/mod.rs"]
mod issuer;
#[path = "trial/mod.rs"]
mod trial;

use issuer::Issuer;
use trial::Outcome;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;
type Sending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

#[tokio::main]
async fn main() -> ExitCode {
    trial::told(run(Duration::from_secs(8)).await.map(|(outcome, connections)| {
        println!("connections={connections}");
        (outcome, connections == 1)
    }))
}

/// Sends requests for so long: how many connections did they take?
pub async fn run(lasting: Duration) -> Result<(Outcome, u32), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let url = format!("http://{}/things?of=mine", echo::serve(issuer.clone()).await?);
    let connections = Arc::new(AtomicU32::new(0));

    let refresher = AuthRefresher::new(issuer.login());
    let mut client = ServiceBuilder::new()
        .layer(AuthRefreshLayer::new(refresher).replay(ReplayClone))
        .service(pool(connections.clone()));

    let request = async || {
        let request = Request::post(&url).body(Full::from("hello"))?;
        let response = client.ready().await?.call(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        trial::success(status)
    };
    let outcome = trial::run(lasting, || issuer.count(), || issuer.revoke(), request).await;
    Ok((outcome, connections.load(Relaxed)))
}

/// How many connections may turn out to be closed before a request is given up.
const ATTEMPTS: usize = 16;

/// The pool as a service, which counts the connections it makes.
fn pool(
    count: Arc<AtomicU32>,
) -> impl Service<Request<Full<Bytes>>, Response = Answer, Error = BoxError, Future = Sending<Answer, BoxError>> + Clone
{
    let connect = service_fn(move |origin: Uri| -> Sending<Connection, BoxError> {
        let count = count.clone();
        Box::pin(async move {
            count.fetch_add(1, Relaxed);
            let stream = HttpConnector::new().oneshot(origin).await?;
            let (sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection);
            Ok(Connection(sender))
        })
    });
    let origins = Map::builder()
        .keys(|uri: &Uri| (uri.scheme().cloned(), uri.authority().cloned()))
        .values(move |_: &Uri| cache::builder().executor(TokioExecutor::new()).build(connect.clone()))
        .build();
    let origins = Arc::new(Mutex::new(origins));
    service_fn(move |mut request: Request<Full<Bytes>>| -> Sending<_, BoxError> {
        let mut connections = origins.lock().unwrap_or_else(PoisonError::into_inner).service(request.uri()).clone();
        Box::pin(async move {
            let uri = to_origin_form(&mut request)?;
            for _ in 0..ATTEMPTS {
                let mut connection = connections.ready().await?.call(uri.clone()).await?;
                // One that was closed meanwhile leaves the cache.
                if connection.ready().await.is_err() {
                    continue;
                }
                let response = match connection.call(request).await {
                    Ok(response) => response,
                    // Nor was it sent on one whose end was not seen sooner.
                    Err(Failed { unsent: Some(unsent), .. }) => {
                        request = *unsent;
                        continue;
                    }
                    Err(failed) => return Err(failed.error.into()),
                };
                // It is free again when the body has been read.
                return Ok(response.map(|body| {
                    let frames = body.map_frame(move |frame| {
                        let _in_use = &connection;
                        frame
                    });
                    frames.boxed()
                }));
            }
            Err("each connection was closed at once".into())
        })
    })
}

/// As a request is sent on a connection (RFC 9112, section 3.2): the path, and the authority in a header. Returns where to.
fn to_origin_form<B>(request: &mut Request<B>) -> Result<Uri, BoxError> {
    let path = request.uri().path_and_query().ok_or("a request without a path")?.clone();
    let uri = std::mem::replace(request.uri_mut(), path.into());
    let authority = uri.authority().ok_or("a request without an authority")?.as_str();
    // Without the name and password that may stand before it.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    request.headers_mut().insert(HOST, HeaderValue::from_str(host)?);
    Ok(uri)
}

/// A request that was not answered; and the request itself, if nothing of it was sent.
struct Failed {
    error: hyper::Error,
    unsent: Option<Box<Request<Full<Bytes>>>>,
}

/// A connection as a service.
struct Connection(SendRequest<Full<Bytes>>);

impl Service<Request<Full<Bytes>>> for Connection {
    type Response = Response<Incoming>;
    type Error = Failed;
    type Future = Sending<Response<Incoming>, Failed>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.0.poll_ready(cx).map_err(|error| Failed { error, unsent: None })
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let sending = self.0.try_send_request(request);
        Box::pin(async move {
            sending.await.map_err(|mut failed| {
                let unsent = failed.take_message().map(Box::new);
                Failed { error: failed.into_error(), unsent }
            })
        })
    }
}
