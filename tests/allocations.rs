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
use http::{HeaderName, HeaderValue, Request, Response, header::AUTHORIZATION};
use tokio::{runtime::Runtime, sync::Semaphore};
use tower::{BoxError, Layer, Service, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, ClassifyRejection, DestinationPolicy, LoginRequest, NeverReject,
    NeverReplay,
};

/// A request whose header map has room already, so that no growth of it is counted.
fn request() -> Request<()> {
    request_to("https://api.example.com/")
}

fn request_to(uri: &'static str) -> Request<()> {
    let mut request = Request::get(uri).body(()).unwrap();
    request.headers_mut().reserve(8);
    request
}

fn inner(request: Request<()>) -> Ready<Result<Response<bool>, Infallible>> {
    ready(Ok(Response::new(request.headers().contains_key(AUTHORIZATION))))
}

/// A refresher that has its token, and the runtime it was got on.
fn refresher() -> (Runtime, AuthRefresher) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refresher = AuthRefresher::new(service_fn(|_: LoginRequest| ready(AccessToken::bearer("abc"))));
    runtime.block_on(refresher.ready()).unwrap();
    (runtime, refresher)
}

/// How much is allocated by a hundred calls, of which each brings this value of the header to the inner service.
fn allocated<C>(
    layer: &AuthRefreshLayer<NeverReplay, C>,
    (name, value): (&HeaderName, Option<&'static str>),
    request: impl Fn() -> Request<()>,
    clone: bool,
) -> u64
where
    C: ClassifyRejection + Clone,
{
    let (name, value) = (name.clone(), value.map(HeaderValue::from_static));
    let mut client = layer.layer(service_fn(move |request: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(request.headers().get(&name) == value.as_ref())))
    }));
    let mut context = Context::from_waker(Waker::noop());
    // Setting up what a thread has once is in nobody's account.
    drop(pin!(client.call(request())).poll(&mut context));
    let requests: Vec<_> = (0..100).map(|_| request()).collect();
    let counted = measure(|| {
        for request in requests {
            let future = pin!(if clone { client.clone().call(request) } else { client.call(request) });
            let Poll::Ready(Ok(response)) = future.poll(&mut context) else {
                panic!("the inner service answers at once")
            };
            assert!(response.into_body(), "another header value came");
        }
    });
    counted.count_total
}

/// A clone for each call, and one service for all.
#[test]
fn a_call_allocates_nothing_whatever_the_rules_of_where_tokens_go() {
    let (_runtime, refresher) = refresher();
    let layer = AuthRefreshLayer::new(refresher.clone());
    let own = HeaderName::from_static("x-token-of-ours");
    let origins = layer.clone().allow_origin("https://api.example.com").unwrap();
    let elsewhere = layer.clone().destination_policy(DestinationPolicy::SendUnauthenticated);
    let plain_text = layer.clone().allow_plaintext(true);
    let keeping = layer.clone().if_not_present(true);
    let renamed = layer.clone().header(own.clone());
    let ours = (&AUTHORIZATION, Some("Bearer abc"));
    for clone in [true, false] {
        for (rules, layer, sent, uri) in [
            ("defaults", &layer, ours, "https://api.example.com/"),
            ("loopback", &layer, ours, "http://127.0.0.1:8080/"),
            ("plain text", &plain_text, ours, "http://api.example.com/"),
            ("origins", &origins, ours, "https://API.example.com:443/"),
            ("another header", &renamed, (&own, Some("Bearer abc")), "https://api.example.com/"),
            ("none to keep", &keeping, ours, "https://api.example.com/"),
            ("passed on", &elsewhere, (&AUTHORIZATION, None), "http://elsewhere.example/"),
        ] {
            assert_eq!(allocated(layer, sent, || request_to(uri), clone), 0, "{rules}, clones: {clone}");
        }
        let never_rejected = layer.clone().reject_on(NeverReject);
        assert_eq!(allocated(&never_rejected, ours, request, clone), 0, "never rejected, clones: {clone}");
        let with_its_own = || {
            let mut request = request();
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
            request
        };
        let kept = (&AUTHORIZATION, Some("Basic abc"));
        assert_eq!(allocated(&keeping, kept, with_its_own, clone), 0, "one to keep, clones: {clone}");
    }

    refresher.shutdown();
    let (mut client, request) = (layer.layer(service_fn(inner)), request());
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
