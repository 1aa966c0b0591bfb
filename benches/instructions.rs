//! Makes calls of one case, whose instructions `callgrind` counts; see `instructions.sh`.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

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

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(case), Some(calls)) = (arguments.next(), arguments.next().and_then(|calls| calls.parse().ok())) else {
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
        "add-authorization, clones" => run_clones(AddAuthorizationLayer::bearer(&secret()).layer(Inner), calls),
        "ours, clones" => run_clones(layer.layer(Inner), calls),
        "ours, three origins" => {
            let layer = layer.allow_origin("https://a.example.com").unwrap();
            let layer = layer.allow_origin("https://b.example.com").unwrap();
            run(layer.allow_origin("https://api.example.com").unwrap().layer(Inner), calls);
        }
        "ours, origins" => run(layer.allow_origin("https://api.example.com").unwrap().layer(Inner), calls),
        _ => panic!("no such case"),
    }
}

fn header() -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {}", secret())).unwrap()
}
