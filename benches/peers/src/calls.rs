//! Loops of calls. The callee is not inlined into the loop, as in a larger program.

use std::{
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::Request;
use tower::Service;

use crate::common::{Requests, call};

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
