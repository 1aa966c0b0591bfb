//! A pool composed of hyper-util's parts below the layer, for 8 seconds with tokens that live for 2:
//!
//! ```sh
//! cargo run -p examples --features hyper-pool --example hyper_pool
//! ```
//!
//! A `Map` has a `Cache` of connections for each origin. A map is not a service: before it has a request, it cannot know
//! which origin must be ready. [`pool`] makes a service of it. The layer goes above the pool, because requests on a
//! connection have paths only, and the layer checks the origin.

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
use examples::{
    echo,
    issuer::Issuer,
    load::{self, Report},
};
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

type PoolResponse = Response<BoxBody<Bytes, hyper::Error>>;
type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

#[tokio::main]
async fn main() -> ExitCode {
    load::exit_code(run(Duration::from_secs(8)).await.map(|(report, connections)| {
        println!("connections={connections}");
        (report, connections == 1)
    }))
}

/// Sends requests for `duration`. Returns the number of connections too.
pub async fn run(duration: Duration) -> Result<(Report, u32), BoxError> {
    let issuer = Issuer::new(Duration::from_secs(2));
    let url = format!("http://{}/items?owner=me", echo::serve(issuer.clone()).await?);
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
        load::success(status)
    };
    let report = load::run(duration, || issuer.count(), || issuer.revoke(), request).await;
    Ok((report, connections.load(Relaxed)))
}

/// The number of closed connections after which a request fails.
const MAX_ATTEMPTS: usize = 16;

/// Creates the pool as a service. `count` grows with each connection.
fn pool(
    count: Arc<AtomicU32>,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = PoolResponse,
    Error = BoxError,
    Future = BoxFuture<PoolResponse, BoxError>,
> + Clone {
    let connect = service_fn(move |origin: Uri| -> BoxFuture<Connection, BoxError> {
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
        .values(move |_: &Uri| {
            cache::builder().executor(TokioExecutor::new()).build(connect.clone())
        })
        .build();
    let origins = Arc::new(Mutex::new(origins));
    service_fn(move |mut request: Request<Full<Bytes>>| -> BoxFuture<_, BoxError> {
        let mut connections =
            origins.lock().unwrap_or_else(PoisonError::into_inner).service(request.uri()).clone();
        Box::pin(async move {
            let uri = to_origin_form(&mut request)?;
            for _ in 0..MAX_ATTEMPTS {
                let mut connection = connections.ready().await?.call(uri.clone()).await?;
                // The server closed it. The cache has dropped it.
                if connection.ready().await.is_err() {
                    continue;
                }
                let response = match connection.call(request).await {
                    Ok(response) => response,
                    // The server closed it before hyper sent the request.
                    Err(Failed { unsent: Some(unsent), .. }) => {
                        request = *unsent;
                        continue;
                    }
                    Err(failed) => return Err(failed.error.into()),
                };
                // The connection goes back to the cache after the body was read.
                return Ok(response.map(|body| {
                    let frames = body.map_frame(move |frame| {
                        let _connection = &connection;
                        frame
                    });
                    frames.boxed()
                }));
            }
            Err("server closed each connection at once".into())
        })
    })
}

/// Moves the authority of a request into the `Host` header (RFC 9112, section 3.2). Returns the original URI.
fn to_origin_form<B>(request: &mut Request<B>) -> Result<Uri, BoxError> {
    let path = request.uri().path_and_query().ok_or("request has no path")?.clone();
    let uri = std::mem::replace(request.uri_mut(), path.into());
    let authority = uri.authority().ok_or("request has no authority")?.as_str();
    // Without user information.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    request.headers_mut().insert(HOST, HeaderValue::from_str(host)?);
    Ok(uri)
}

/// The error of a request, and the request itself if hyper did not send it.
struct Failed {
    error: hyper::Error,
    unsent: Option<Box<Request<Full<Bytes>>>>,
}

/// A connection as a service.
struct Connection(SendRequest<Full<Bytes>>);

impl Service<Request<Full<Bytes>>> for Connection {
    type Response = Response<Incoming>;
    type Error = Failed;
    type Future = BoxFuture<Response<Incoming>, Failed>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.0.poll_ready(cx).map_err(|error| Failed { error, unsent: None })
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let response = self.0.try_send_request(request);
        Box::pin(async move {
            response.await.map_err(|mut failed| {
                let unsent = failed.take_message().map(Box::new);
                Failed { error: failed.into_error(), unsent }
            })
        })
    }
}
