//! A token that has been withdrawn is never sent again, although services cache its header while it is published.

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{HOUR, request};
use http::{Request, Response, header::AUTHORIZATION};
use tokio::sync::Semaphore;
use tower::{BoxError, Service, service_fn};
use tower_auth_refresh::{AccessToken, AuthRefresh, AuthRefresher, LoginRequest};

/// A header that is cached during a publication, under an epoch that is current once the cell is empty, is sent within 100
/// publications.
#[test]
fn withdrawn_token_is_never_sent_again() {
    const PUBLICATIONS: usize = 300;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (permits, issued) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let allowed = permits.clone();
    let login = service_fn(move |_: LoginRequest| {
        let (allowed, issued) = (allowed.clone(), issued.clone());
        async move {
            allowed.acquire().await?.forget();
            let n = issued.fetch_add(1, SeqCst) + 1;
            Ok::<_, BoxError>(AccessToken::bearer(format!("t{n}"))?.with_expires_in(HOUR))
        }
    });
    let nanosecond = Duration::from_nanos(1);
    let refresher = AuthRefresher::builder(login).backoff(nanosecond, nanosecond).build().unwrap();
    let last_sent = Arc::new(Mutex::new(None));
    let sent = last_sent.clone();
    let server = service_fn(move |request: Request<()>| {
        *sent.lock().unwrap() = Some(request.headers()[AUTHORIZATION].clone());
        ready(Ok::<_, BoxError>(Response::new(())))
    });
    let _entered = runtime.enter();
    let mut client = AuthRefresh::new(server, refresher.clone());
    let log_in = || {
        permits.add_permits(1);
        runtime.block_on(refresher.ready()).unwrap();
    };
    log_in();
    for _ in 0..PUBLICATIONS {
        for _ in 0..4 {
            drop(client.call(request()));
        }
        let previous = last_sent.lock().unwrap().clone();
        // Calls go on until one has the next token, perhaps while the worker publishes it.
        let handle = refresher.clone();
        let refresh = runtime.spawn(async move { handle.refresh().await.map(drop) });
        permits.add_permits(1);
        while *last_sent.lock().unwrap() == previous && !refresh.is_finished() {
            drop(client.call(request()));
        }
        runtime.block_on(refresh).unwrap().unwrap();
        refresher.invalidate();
        *last_sent.lock().unwrap() = None;
        // No login can finish.
        drop(client.call(request()));
        drop(client.clone().call(request()));
        assert_eq!(*last_sent.lock().unwrap(), None, "sent after it was invalidated");
        log_in();
    }
}
