//! With a token, a call allocates nothing of ours.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    mem::size_of,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use http::{Request, Response, header::AUTHORIZATION};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service, service_fn};
use tower_auth_refresh::{AccessToken, AuthRefreshLayer, AuthRefresher, LoginRequest};

/// A request whose header map has room already, so that no growth of it is counted.
fn request() -> Request<()> {
    let mut request = Request::get("https://api.example.com/").body(()).unwrap();
    request.headers_mut().reserve(8);
    request
}

fn inner(request: Request<()>) -> Ready<Result<Response<bool>, Infallible>> {
    ready(Ok(Response::new(request.headers().contains_key(AUTHORIZATION))))
}

/// A clone for each call, and one service for all.
#[test]
fn a_call_with_a_token_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let login = service_fn(|_: LoginRequest| ready(AccessToken::bearer("abc")));
    let refresher = AuthRefresher::new(login);
    let mut client = AuthRefreshLayer::new(refresher.clone()).layer(service_fn(inner));
    runtime.block_on(refresher.ready()).unwrap();

    let mut context = Context::from_waker(Waker::noop());
    for clone in [true, false] {
        let requests: Vec<_> = (0..100).map(|_| request()).collect();
        let mut lives_long = client.clone();
        let counted = measure(|| {
            for request in requests {
                let future = pin!(if clone { client.clone().call(request) } else { lives_long.call(request) });
                let Poll::Ready(Ok(response)) = future.poll(&mut context) else {
                    panic!("the inner service answers at once")
                };
                assert!(response.into_body());
            }
        });
        assert_eq!(counted.count_total, 0);
    }

    refresher.shutdown();
    let request = request();
    let waiting = measure(|| drop(client.call(request)));
    assert!(waiting.count_total > 0, "the count counts: waiting for a token does allocate");
}

#[test]
fn ten_thousand_waiting_requests_cost_one_login_and_at_most_a_kibibyte_each() {
    const WAITING: usize = 10_000;
    let (logins, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, opened) = (logins.clone(), gate.clone());
    let login = service_fn(move |_: LoginRequest| {
        counted.fetch_add(1, SeqCst);
        let opened = opened.clone();
        async move {
            opened.acquire().await?.forget();
            Ok::<_, BoxError>(AccessToken::bearer("abc")?)
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mut client = AuthRefreshLayer::with_login(login).layer(service_fn(inner));
    let requests: Vec<_> = (0..WAITING).map(|_| request()).collect();
    runtime.block_on(async {
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Vec::with_capacity(WAITING);
        let counted = measure(|| {
            for request in requests {
                let mut future = client.call(request);
                assert!(Pin::new(&mut future).poll(&mut context).is_pending());
                waiting.push(future);
            }
        });
        let each = counted.bytes_total as usize / WAITING + size_of_val(&waiting[0]) - size_of::<Request<()>>();
        assert!(each <= 1024, "{each} bytes");

        gate.add_permits(1);
        for future in waiting {
            assert!(future.await.unwrap().into_body());
        }
        assert_eq!(logins.load(SeqCst), 1);
    });
}
