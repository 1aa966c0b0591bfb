//! A service caches the header value of its last call and uses it only while the token is current. A call in flight
//! does not keep the refresher alive unless it can be replayed.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use crate::support::{HOUR, MockLogin, client, request, secs, token};
use http::{Request, Response, StatusCode};
use tokio::{
    sync::Semaphore,
    time::{advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefreshLayer, ReplayClone};

/// Sends three requests through one service. Returns their token, which must be the same.
async fn send_three<S, E>(client: &mut S) -> Result<String, BoxError>
where
    S: Service<Request<()>, Response = Response<String>, Error = E>,
    E: Into<BoxError>,
{
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let response = client.ready().await.map_err(Into::into)?.call(request());
        tokens.push(response.await.map_err(Into::into)?.into_body());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    Ok(tokens.remove(0))
}

#[tokio::test(start_paused = true)]
async fn service_uses_current_token_after_each_change() {
    let logins = MockLogin::default();
    let refresher =
        logins.refresher(|n| ready(if n < 5 { token(n, HOUR) } else { Err("no login".into()) }));
    let mut client = client(&refresher);
    assert_eq!(send_three(&mut client).await.unwrap(), "Bearer t1");

    refresher.refresh().await.unwrap();
    assert_eq!(send_three(&mut client).await.unwrap(), "Bearer t2", "forced refresh");

    refresher.invalidate();
    assert_eq!(send_three(&mut client).await.unwrap(), "Bearer t3", "invalidated");

    sleep(HOUR - secs(299)).await;
    assert_eq!(send_three(&mut client).await.unwrap(), "Bearer t4", "refreshed before expiry");

    advance(HOUR).await;
    sleep(secs(20)).await;
    assert!(send_three(&mut client).await.is_err(), "expired");
}

#[tokio::test(start_paused = true)]
async fn service_uses_no_token_after_shutdown() {
    let refresher = MockLogin::default().refresher(|n| ready(token(n, HOUR)));
    let mut client = client(&refresher);
    assert_eq!(send_three(&mut client).await.unwrap(), "Bearer t1");
    refresher.shutdown();
    assert!(send_three(&mut client).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn token_rejected_by_another_service_is_not_reused() {
    let refresher = MockLogin::default().refresher(|n| ready(token(n, HOUR)));
    let mut client = client(&refresher);
    assert_eq!(send_three(&mut client).await.unwrap(), "Bearer t1");
    sleep(secs(2)).await;
    let unauthorized = service_fn(|_: Request<()>| {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        ready(Ok::<_, BoxError>(response))
    });
    AuthRefreshLayer::new(refresher).layer(unauthorized).oneshot(request()).await.unwrap();
    assert_eq!(send_three(&mut client).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn services_of_two_refreshers_do_not_mix_tokens() {
    let one = MockLogin::default().refresher(|_| ready(token(1, HOUR)));
    let other = MockLogin::default().refresher(|_| ready(token(2, HOUR)));
    let (mut one, mut other) = (client(&one), client(&other));
    for _ in 0..2 {
        assert_eq!(send_three(&mut one).await.unwrap(), "Bearer t1");
        assert_eq!(send_three(&mut other).await.unwrap(), "Bearer t2");
    }
}

/// Returns a service that responds with 401 to the first request, once there is a permit, and with 200 to all others.
fn reject_first(
    permits: Arc<Semaphore>,
) -> impl Service<Request<()>, Response = Response<()>, Error = BoxError, Future: Send> + Clone + Send
{
    let requests = Arc::new(AtomicUsize::new(0));
    service_fn(move |_: Request<()>| {
        let first = requests.fetch_add(1, SeqCst) == 0;
        let permits = permits.clone();
        async move {
            let mut response = Response::new(());
            if first {
                permits.acquire().await?.forget();
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            Ok::<_, BoxError>(response)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn call_in_flight_does_not_keep_refresher_alive() {
    let permits = Arc::new(Semaphore::new(0));
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| ready(token(n, HOUR)));
    refresher.ready().await.unwrap();
    let mut status = refresher.subscribe();
    let call =
        AuthRefreshLayer::new(refresher).layer(reject_first(permits.clone())).call(request());
    status.mark_unchanged();
    while status.changed().await.is_ok() {}
    permits.add_permits(1);
    assert_eq!(call.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn replayable_call_in_flight_keeps_refresher_alive() {
    let permits = Arc::new(Semaphore::new(0));
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| ready(token(n, HOUR)));
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let call = AuthRefreshLayer::new(refresher)
        .replay(ReplayClone)
        .layer(reject_first(permits.clone()))
        .call(request());
    permits.add_permits(1);
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    assert_eq!(logins.started(), 2);
}
