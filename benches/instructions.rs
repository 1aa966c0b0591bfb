//! Makes calls of one case, whose instructions `callgrind` counts; see `instructions.sh`.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "common/mod.rs"]
mod common;

use std::{env, hint::black_box};

use common::{HandWritten, Inner, Requests, call, refresher, refresher_on_current_thread, secret};
use http::{HeaderValue, Request, Response};
use tower::{Layer, Service};
use tower_auth_refresh::{AuthRefreshLayer, NeverReject, ReplayClone};
use tower_http::auth::AddAuthorizationLayer;

/// The code that all cases share. It is not inlined, so that the optimizer treats all cases alike.
#[inline(never)]
fn run<S>(mut service: S, calls: u32)
where
    S: Service<Request<()>, Response = Response<()>>,
{
    let requests = Requests::new();
    for _ in 0..calls {
        call(black_box(&mut service), requests.next());
    }
}

/// As above, with a clone of the service for each call.
#[inline(never)]
fn run_clones<S>(service: S, calls: u32)
where
    S: Service<Request<()>, Response = Response<()>> + Clone,
{
    let requests = Requests::new();
    for _ in 0..calls {
        let mut clone = black_box(&service).clone();
        call(&mut clone, requests.next());
    }
}

/// The keys of the requests, the same ones for each service. Each is drawn uniformly.
#[derive(Clone, Copy)]
struct Keys {
    number: u64,
    state: u64,
}

impl Keys {
    fn new(number: u64) -> Self {
        Self { number, state: 1 }
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % self.number
    }
}

/// The same with a key in each request. Only this function is counted.
#[inline(never)]
fn run_keyed<S>(mut service: S, calls: u32, mut keys: Keys)
where
    S: Service<Request<()>, Response = Response<()>>,
{
    let requests = Requests::new();
    for _ in 0..calls {
        let mut request = requests.next();
        request.extensions_mut().insert(keys.next());
        call(black_box(&mut service), request);
    }
}

/// Counts the calls of a layer for this many keys, all of which have a token.
#[cfg(feature = "keyed")]
fn run_ours_keyed(keys: u64, calls: u32) {
    use tower_auth_refresh::AuthRefreshers;

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let secret: std::sync::Arc<str> = secret().into();
    let refreshers = AuthRefreshers::builder(move |_: &u64| {
        let secret = secret.clone();
        tower_auth_refresh::AuthRefresher::builder(tower_auth_refresh::login_fn(move |_| {
            let token = tower_auth_refresh::AccessToken::bearer(&*secret);
            async move { Ok(token?.with_expiry(tower_auth_refresh::Expiry::Never)) }
        }))
    })
    .capacity(2 * keys as usize)
    .build()
    .unwrap();
    let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(Inner);
    let requests = Requests::new();
    for key in 0..keys {
        runtime.block_on(refreshers.get(&key).unwrap().ready()).unwrap();
        // The first call of a thread copies the header value of a token.
        let mut request = requests.next();
        request.extensions_mut().insert(key);
        call(&mut service, request);
    }
    run_keyed(service, calls, Keys::new(keys));
}

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(case), Some(calls)) =
        (arguments.next(), arguments.next().and_then(|calls| calls.parse().ok()))
    else {
        // `cargo bench` and `cargo test --benches` pass no arguments.
        return println!("instructions: run `benches/instructions.sh`");
    };
    let (_runtime, refresher) = refresher();
    let layer = AuthRefreshLayer::new(refresher);
    match case.as_str() {
        "bare" => run(Inner, calls),
        "hand-written" => run(HandWritten { inner: Inner, value: header() }, calls),
        "add-authorization" => run(AddAuthorizationLayer::bearer(&secret()).layer(Inner), calls),
        "ours" => run(layer.layer(Inner), calls),
        "ours, no rejections" => run(layer.reject_on(NeverReject).layer(Inner), calls),
        "ours, replay" => run(layer.replay(ReplayClone).layer(Inner), calls),
        "ours, expiry checked at use" => {
            let (_runtime, refresher) = refresher_on_current_thread();
            run(AuthRefreshLayer::new(refresher).layer(Inner), calls);
        }
        "add-authorization, clones" => {
            run_clones(AddAuthorizationLayer::bearer(&secret()).layer(Inner), calls)
        }
        "ours, clones" => run_clones(layer.layer(Inner), calls),
        "ours, three origins" => {
            let layer = layer.allow_origin("https://a.example.com").unwrap();
            let layer = layer.allow_origin("https://b.example.com").unwrap();
            run(layer.allow_origin("https://api.example.com").unwrap().layer(Inner), calls);
        }
        "bare, keyed" => run_keyed(Inner, calls, Keys::new(1_000)),
        "ours, one identity" => run_keyed(layer.layer(Inner), calls, Keys::new(1_000)),
        #[cfg(feature = "keyed")]
        "ours, last key" => run_ours_keyed(1, calls),
        #[cfg(feature = "keyed")]
        "ours, 1,000 keys" => run_ours_keyed(1_000, calls),
        #[cfg(feature = "keyed")]
        "ours, 100,000 keys" => run_ours_keyed(100_000, calls),
        "ours, origins" => {
            run(layer.allow_origin("https://api.example.com").unwrap().layer(Inner), calls)
        }
        _ => panic!("no such case"),
    }
}

fn header() -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {}", secret())).unwrap()
}
