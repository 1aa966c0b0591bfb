//! The allocations of this crate: none for a call with a token, at most a kibibyte for a call that waits.

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
    AccessToken, AuthRefreshLayer, AuthRefresher, ClassifyRejection, DestinationPolicy,
    LoginRequest, NeverReject, NeverReplay,
};

/// Returns a request whose header map has spare capacity, so that the count does not include its growth.
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

/// Returns a refresher that has a token, and the runtime of its worker.
fn refresher() -> (Runtime, AuthRefresher) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refresher =
        AuthRefresher::new(service_fn(|_: LoginRequest| ready(AccessToken::bearer("abc"))));
    runtime.block_on(refresher.ready()).unwrap();
    (runtime, refresher)
}

/// Counts the allocations of a hundred calls. Checks that each sends this value of the header to the inner service.
fn count_allocations<C>(
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
    // The first call initializes the thread locals, which the count does not include.
    drop(pin!(client.call(request())).poll(&mut context));
    let requests: Vec<_> = (0..100).map(|_| request()).collect();
    let counted = measure(|| {
        for request in requests {
            let future =
                pin!(if clone { client.clone().call(request) } else { client.call(request) });
            let Poll::Ready(Ok(response)) = future.poll(&mut context) else {
                panic!("the inner service is pending or failed")
            };
            assert!(response.into_body(), "the inner service received another header value");
        }
    });
    counted.count_total
}

/// Tests each configuration with a clone for each call, and with one service for all calls.
#[test]
fn call_with_token_allocates_nothing_with_any_config() {
    let (_runtime, refresher) = refresher();
    let layer = AuthRefreshLayer::new(refresher.clone());
    let custom = HeaderName::from_static("x-custom-token");
    let origins = layer.clone().allow_origin("https://api.example.com").unwrap();
    let unauthenticated = layer.clone().destination_policy(DestinationPolicy::SendUnauthenticated);
    let plaintext = layer.clone().allow_plaintext(true);
    let if_not_present = layer.clone().if_not_present(true);
    let custom_header = layer.clone().header(custom.clone());
    let token = (&AUTHORIZATION, Some("Bearer abc"));
    for clone in [true, false] {
        for (config, layer, header, uri) in [
            ("defaults", &layer, token, "https://api.example.com/"),
            ("loopback", &layer, token, "http://127.0.0.1:8080/"),
            ("plaintext", &plaintext, token, "http://api.example.com/"),
            ("origins", &origins, token, "https://API.example.com:443/"),
            (
                "custom header",
                &custom_header,
                (&custom, Some("Bearer abc")),
                "https://api.example.com/",
            ),
            ("no header present", &if_not_present, token, "https://api.example.com/"),
            (
                "sent unauthenticated",
                &unauthenticated,
                (&AUTHORIZATION, None),
                "http://elsewhere.example/",
            ),
        ] {
            assert_eq!(
                count_allocations(layer, header, || request_to(uri), clone),
                0,
                "{config}, clones: {clone}"
            );
        }
        let never_reject = layer.clone().reject_on(NeverReject);
        assert_eq!(
            count_allocations(&never_reject, token, request, clone),
            0,
            "never reject, clones: {clone}"
        );
        let with_credentials = || {
            let mut request = request();
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
            request
        };
        let existing = (&AUTHORIZATION, Some("Basic abc"));
        assert_eq!(
            count_allocations(&if_not_present, existing, with_credentials, clone),
            0,
            "header present, clones: {clone}"
        );
    }

    refresher.shutdown();
    let (mut client, request) = (layer.layer(service_fn(inner)), request());
    let waiting = measure(|| drop(client.call(request)));
    assert!(
        waiting.count_total > 0,
        "a call that waits for a token allocates, so the counter works"
    );
}

#[test]
fn waiting_request_allocates_at_most_one_kibibyte() {
    const WAITING: usize = 10_000;
    let (logins, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counter, login_permits) = (logins.clone(), permits.clone());
    let login = service_fn(move |_: LoginRequest| {
        counter.fetch_add(1, SeqCst);
        let permits = login_permits.clone();
        async move {
            permits.acquire().await?.forget();
            Ok::<_, BoxError>(AccessToken::bearer("abc")?)
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
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
        let each = counted.bytes_total as usize / WAITING + size_of_val(&waiting[0])
            - size_of::<Request<()>>();
        assert!(each <= 1024, "{each} bytes for each waiting request");

        permits.add_permits(1);
        for future in waiting {
            assert!(future.await.unwrap().into_body());
        }
        assert_eq!(logins.load(SeqCst), 1);
    });
}
