//! Loops of calls. The callee is not inlined into the loop, as in a larger program.

use std::{
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::Request;
use tower::Service;

use crate::{
    common::{Requests, call},
    key_draws::KeyDraws,
};

/// Makes the given number of calls.
pub type Calls = Box<dyn FnMut(u32) + Send>;

/// Calls a service whose future is ready at its first poll.
pub fn through<B, S>(mut service: S) -> Calls
where
    B: Default + 'static,
    S: Service<Request<B>> + Send + 'static,
{
    let requests = Requests::new();
    Box::new(move |times| {
        for _ in 0..times {
            call(black_box(&mut service), requests.next().map(|()| B::default()));
        }
    })
}

/// Calls a clone of a service for each call, as `client.clone().oneshot(request)` does. All threads clone one service.
pub fn through_clones<S>(service: Arc<S>) -> Calls
where
    S: Service<Request<()>> + Clone + Send + Sync + 'static,
{
    let requests = Requests::new();
    Box::new(move |times| {
        for _ in 0..times {
            call(&mut S::clone(black_box(&service)), requests.next());
        }
    })
}

/// Runs the code that a user of a crate writes around a call. It is ready at its first poll too.
pub fn by(mut lines: impl AsyncFnMut(Request<()>) + Send + 'static) -> Calls {
    let requests = Requests::new();
    Box::new(move |times| {
        for _ in 0..times {
            let future = pin!(black_box(&mut lines)(requests.next()));
            let outcome = future.poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(outcome, Poll::Ready(()), "a call with a token waited");
        }
    })
}

/// Calls a service with a key in the extensions of each request.
pub fn through_keyed<S>(mut service: S, mut keys: KeyDraws) -> Calls
where
    S: Service<Request<()>> + Send + 'static,
{
    let requests = Requests::new();
    Box::new(move |times| {
        for _ in 0..times {
            let mut request = requests.next();
            request.extensions_mut().insert(keys.next());
            call(black_box(&mut service), request);
        }
    })
}

/// Runs the code that a user of a crate writes around a call for a key.
pub fn by_key(
    mut keys: KeyDraws,
    mut lines: impl AsyncFnMut(u64, Request<()>) + Send + 'static,
) -> Calls {
    by(async move |request| lines(black_box(keys.next()), request).await)
}
