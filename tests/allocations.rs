//! With a token, a call allocates nothing of ours.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use http::{Request, Response, header::AUTHORIZATION};
use tower::{Layer, Service, service_fn};
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

#[test]
fn a_call_with_a_token_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let login = service_fn(|_: LoginRequest| ready(AccessToken::bearer("abc")));
    let refresher = AuthRefresher::new(login);
    let mut client = AuthRefreshLayer::new(refresher.clone()).layer(service_fn(inner));
    runtime.block_on(refresher.ready()).unwrap();

    let mut context = Context::from_waker(Waker::noop());
    let requests: Vec<_> = (0..100).map(|_| request()).collect();
    let counted = measure(|| {
        for request in requests {
            let future = pin!(client.clone().call(request));
            let Poll::Ready(Ok(response)) = future.poll(&mut context) else {
                panic!("the inner service answers at once")
            };
            assert!(response.into_body());
        }
    });
    assert_eq!(counted.count_total, 0);

    refresher.shutdown();
    let request = request();
    let waiting = measure(|| drop(client.call(request)));
    assert!(waiting.count_total > 0, "the count counts: waiting for a token does allocate");
}
