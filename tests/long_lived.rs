//! A service that is used for many calls holds on to the token it used last, and to no token longer than it is in use; calls
//! on their way hold nothing.

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use harness::{HOUR, Logins, client, request, secs, token};
use http::{Request, Response, StatusCode};
use tokio::{
    sync::Semaphore,
    time::{advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefreshLayer, ReplayClone};

/// Calls one service three times; the token is the same each time.
async fn three<S, E>(client: &mut S) -> Result<String, BoxError>
where
    S: Service<Request<()>, Response = Response<String>, Error = E>,
    E: Into<BoxError>,
{
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let called = client.ready().await.map_err(Into::into)?.call(request());
        tokens.push(called.await.map_err(Into::into)?.into_body());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    Ok(tokens.remove(0))
}

#[tokio::test(start_paused = true)]
async fn a_service_uses_each_token_from_the_first_call_after_it_came_and_none_longer_than_it_may_be_used() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| ready(if n < 5 { token(n, HOUR) } else { Err("no login".into()) }));
    let mut client = client(&refresher);
    assert_eq!(three(&mut client).await.unwrap(), "Bearer t1");

    refresher.refresh().await.unwrap();
    assert_eq!(three(&mut client).await.unwrap(), "Bearer t2", "refreshed by hand");

    refresher.invalidate();
    assert_eq!(three(&mut client).await.unwrap(), "Bearer t3", "invalidated");

    sleep(HOUR - secs(299)).await;
    assert_eq!(three(&mut client).await.unwrap(), "Bearer t4", "refreshed in time");

    advance(HOUR).await;
    sleep(secs(20)).await;
    assert!(three(&mut client).await.is_err(), "expired");
}

#[tokio::test(start_paused = true)]
async fn a_service_uses_no_token_after_the_refresher_was_shut_down() {
    let refresher = Logins::default().refresher(|n| ready(token(n, HOUR)));
    let mut client = client(&refresher);
    assert_eq!(three(&mut client).await.unwrap(), "Bearer t1");
    refresher.shutdown();
    assert!(three(&mut client).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_rejected_elsewhere_is_not_used_again() {
    let refresher = Logins::default().refresher(|n| ready(token(n, HOUR)));
    let mut client = client(&refresher);
    assert_eq!(three(&mut client).await.unwrap(), "Bearer t1");
    sleep(secs(2)).await;
    let unauthorized = service_fn(|_: Request<()>| {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        ready(Ok::<_, BoxError>(response))
    });
    AuthRefreshLayer::new(refresher).layer(unauthorized).oneshot(request()).await.unwrap();
    assert_eq!(three(&mut client).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn services_of_several_refreshers_keep_their_tokens_apart() {
    let one = Logins::default().refresher(|_| ready(token(1, HOUR)));
    let other = Logins::default().refresher(|_| ready(token(2, HOUR)));
    let (mut one, mut other) = (client(&one), client(&other));
    for _ in 0..2 {
        assert_eq!(three(&mut one).await.unwrap(), "Bearer t1");
        assert_eq!(three(&mut other).await.unwrap(), "Bearer t2");
    }
}

/// Answers 401 to the first request when the gate opens, and 200 to all after it.
fn rejecting(
    gate: Arc<Semaphore>,
) -> impl Service<Request<()>, Response = Response<()>, Error = BoxError, Future: Send> + Clone + Send {
    let requests = Arc::new(AtomicUsize::new(0));
    service_fn(move |_: Request<()>| {
        let first = requests.fetch_add(1, SeqCst) == 0;
        let gate = gate.clone();
        async move {
            let mut response = Response::new(());
            if first {
                gate.acquire().await?.forget();
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            Ok::<_, BoxError>(response)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_on_its_way_keeps_no_refresher_and_its_rejection_is_for_the_caller() {
    let gate = Arc::new(Semaphore::new(0));
    let logins = Logins::default();
    let refresher = logins.refresher(|n| ready(token(n, HOUR)));
    refresher.ready().await.unwrap();
    let mut status = refresher.subscribe();
    let call = AuthRefreshLayer::new(refresher).layer(rejecting(gate.clone())).call(request());
    status.mark_unchanged();
    while status.changed().await.is_ok() {}
    gate.add_permits(1);
    assert_eq!(call.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_be_replayed_keeps_its_refresher() {
    let gate = Arc::new(Semaphore::new(0));
    let logins = Logins::default();
    let refresher = logins.refresher(|n| ready(token(n, HOUR)));
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let call = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(rejecting(gate.clone())).call(request());
    gate.add_permits(1);
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    assert_eq!(logins.started(), 2);
}
