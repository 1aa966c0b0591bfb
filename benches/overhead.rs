//! Compares the layer's overhead with that of a static token, in one table: `cargo bench --bench overhead`.
//!
//! All cases are timed in turn. Ratios within one run are reliable; nanoseconds are not.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "common/mod.rs"]
mod common;

use std::{
    future::{Future, pending, ready},
    hint::black_box,
    ops::Deref,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use common::{
    HandWritten, Inner, Requests, call, refresher, secret,
    timing::{Case, interleave, median},
};
use http::{HeaderValue, Request, Response};
use tokio::{runtime::Runtime, sync::Notify, task::JoinSet};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, LoginRequest, NeverReject, ReplayClone,
};
use tower_http::auth::AddAuthorizationLayer;

fn main() {
    // `cargo test --benches` only checks that it runs.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (rounds, calls) = if quick { (1, 100) } else { (51, 20_000) };
    one_thread(rounds, calls);
    threads(if quick { 1 } else { 21 }, if quick { 100 } else { 200_000 });
    cold_start(if quick { &[10] } else { &[1_000, 10_000] });
    refresh_under_load(if quick { 3 } else { 300 }, if quick { 10 } else { 5_000 });
}

/// Calls one long-lived service `calls` times.
fn long_lived<S>(mut service: S) -> impl FnMut(u32)
where
    S: Service<Request<()>, Response = Response<()>>,
{
    let requests = Requests::new();
    move |calls| {
        for _ in 0..calls {
            call(black_box(&mut service), requests.next());
        }
    }
}

/// Clones the service for each call.
fn cloned<S>(service: impl Deref<Target = S>) -> impl FnMut(u32)
where
    S: Service<Request<()>, Response = Response<()>> + Clone,
{
    let requests = Requests::new();
    move |calls| {
        for _ in 0..calls {
            call(&mut black_box(&*service).clone(), requests.next());
        }
    }
}

fn one_thread(rounds: usize, calls: u32) {
    let (_runtime, refresher) = refresher();
    let layer = AuthRefreshLayer::new(refresher);
    let fixed = AddAuthorizationLayer::bearer(&secret()).layer(Inner);
    let value = HeaderValue::try_from(format!("Bearer {}", secret())).unwrap();
    let ours = layer.layer(Inner);
    let no_rejections = layer.clone().reject_on(NeverReject);
    let replay = layer.clone().replay(ReplayClone);
    let origins = layer.clone().allow_origin("https://api.example.com").unwrap();
    let mut cases = vec![
        Case::new("bare", long_lived(Inner)),
        Case::new("AddAuthorizationLayer", long_lived(fixed.clone())),
        Case::new("hand-written insert", long_lived(HandWritten { inner: Inner, value })),
        Case::new("ours", long_lived(ours.clone())),
        Case::new("ours, no rejections", long_lived(no_rejections.layer(Inner))),
        Case::new("ours, origins", long_lived(origins.layer(Inner))),
        Case::new("ours, replay", long_lived(replay.layer(Inner))),
        Case::new("ours, no token yet", no_token_yet()),
        Case::new("AddAuthorizationLayer, a clone a call", cloned(&fixed)),
        Case::new("ours, a clone a call", cloned(&ours)),
    ];
    interleave(&mut cases, rounds, calls);
    let bare = cases[0].median();
    let fixed = cases[1].median() - bare;
    println!("One thread: nanoseconds added to a call of {bare:.0} ns\n");
    println!("| {:<38} | added ns | ratio |\n| {:-<38} | -------: | ----: |", "", "");
    for case in &cases[1..] {
        let added = case.median() - bare;
        println!("| {:<38} | {added:8.1} | {:5.2} |", case.name, added / fixed);
    }
}

/// Calls without a token: each starts to wait, and is dropped.
fn no_token_yet() -> impl FnMut(u32) {
    let runtime = Runtime::new().unwrap();
    let refresher = AuthRefresher::new(service_fn(|_: LoginRequest| {
        pending::<Result<AccessToken, BoxError>>()
    }));
    let mut service = AuthRefreshLayer::new(refresher).layer(Inner);
    let requests = Requests::new();
    move |calls| {
        let _entered = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..calls {
            let future = pin!(service.call(requests.next()));
            assert!(black_box(future.poll(&mut context)).is_pending());
        }
    }
}

fn threads(rounds: usize, calls: u32) {
    let (_runtime, refresher) = refresher();
    let ours = AuthRefreshLayer::new(refresher).layer(Inner);
    let fixed = AddAuthorizationLayer::bearer(&secret()).layer(Inner);
    // The upper bound: threads that share nothing cannot contend.
    let of_its_own = || {
        let value = HeaderValue::try_from(format!("Bearer {}", secret())).unwrap();
        HandWritten { inner: Inner, value }
    };
    // Like the service of a task that has moved from another thread.
    let used_elsewhere = || {
        let mut service = ours.clone();
        thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|_| call(&mut service, Requests::new().next())));
        });
        service
    };
    println!("\nMillion calls a second, of all threads\n");
    println!("| threads | | M calls/s | × AddAuthorizationLayer |\n| --: | --- | --: | --: |");
    for threads in [1, 2, 4] {
        let mut cases = [
            Case::threaded("AddAuthorizationLayer", threads, || long_lived(fixed.clone())),
            Case::threaded("a header value for each thread", threads, || long_lived(of_its_own())),
            Case::threaded("ours", threads, || long_lived(ours.clone())),
            Case::threaded("ours, first used by another thread", threads, || {
                long_lived(used_elsewhere())
            }),
            // Shared by reference: all threads clone one service.
            Case::threaded("AddAuthorizationLayer, a clone a call", threads, || cloned(&fixed)),
            Case::threaded("a header value each, a clone a call", threads, || {
                cloned(Box::new(of_its_own()))
            }),
            Case::threaded("ours, a clone a call", threads, || cloned(&ours)),
        ];
        interleave(&mut cases, rounds, calls);
        let rate = |case: &Case<'_>| threads as f64 * 1e3 / case.median();
        let (long_lived, cloned) = cases.split_at(4);
        for cases in [long_lived, cloned] {
            let fixed = rate(&cases[0]);
            for case in cases {
                println!(
                    "| {threads} | {:<37} | {:.2} | {:.2} |",
                    case.name,
                    rate(case),
                    rate(case) / fixed
                );
            }
        }
    }
}

/// Measures the time from the first token until all waiting requests have their response.
fn cold_start(sizes: &[usize]) {
    println!(
        "\nCold start\n\n| waiting requests | logins | from the token to the last response | each |\n| --: | --: | --: | --: |"
    );
    for &size in sizes {
        let (logins, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, opened) = (logins.clone(), gate.clone());
        let refresher = AuthRefresher::new(service_fn(move |_: LoginRequest| {
            counted.fetch_add(1, Ordering::Relaxed);
            let opened = opened.clone();
            async move {
                opened.notified().await;
                AccessToken::bearer(secret())
            }
        }));
        let client = AuthRefreshLayer::new(refresher).layer(Inner);
        let took = Runtime::new().unwrap().block_on(async {
            let mut responses = JoinSet::new();
            for _ in 0..size {
                let client = client.clone();
                responses
                    .spawn(async move { client.oneshot(Requests::new().next()).await.unwrap() });
            }
            while logins.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            let start = Instant::now();
            gate.notify_one();
            while responses.join_next().await.is_some() {}
            start.elapsed()
        });
        let each = took / u32::try_from(size).unwrap_or(u32::MAX);
        println!("| {size} | {} | {took:.1?} | {each:.0?} |", logins.load(Ordering::Relaxed));
    }
}

/// Measures the slowest call of each batch: without other load, beside two tasks that wake each other, and beside a refresh.
fn refresh_under_load(batches: usize, calls: u32) {
    let runtime = Runtime::new().unwrap();
    let logins = AtomicUsize::new(0);
    let login = service_fn(move |_: LoginRequest| {
        let nth = logins.fetch_add(1, Ordering::Relaxed);
        ready(AccessToken::bearer(format!("{}{nth}", secret())).map_err(BoxError::from))
    });
    // Refreshes run one after another, without a pause.
    let pause = Duration::from_micros(1);
    let refresher = AuthRefresher::builder(login).backoff(pause, pause).build().unwrap();
    runtime.block_on(refresher.ready()).unwrap();
    let mut client = AuthRefreshLayer::new(refresher.clone()).layer(Inner);
    let requests = Requests::new();
    let mut slowest = [const { Vec::new() }; 3];
    for batch in 0..batches {
        // The kinds alternate.
        let kind = (batch + batch / 3) % 3;
        let refresher = refresher.clone();
        let beside = runtime.spawn(async move {
            match kind {
                0 => {}
                1 => tokio::spawn(async {}).await.unwrap(),
                _ => drop(refresher.refresh().await.unwrap()),
            }
        });
        if kind == 0 {
            runtime.block_on(beside).unwrap();
            slowest[kind].push(slow(&mut client, &requests, || false, calls));
        } else {
            slowest[kind].push(slow(&mut client, &requests, || !beside.is_finished(), calls));
            runtime.block_on(beside).unwrap();
        }
    }
    println!(
        "\nThe slowest call of {calls} and more, as many as it takes for the task to end; median of batches\n"
    );
    println!("| beside the calls | us |\n| --- | --: |");
    for (what, slowest) in
        ["nothing", "a task that waits for another", "a refresh"].into_iter().zip(slowest)
    {
        println!("| {what} | {:.1} |", median(slowest));
    }
}

/// Returns the microseconds of the slowest call, among `CALLS` calls and further ones while `go_on` returns true.
fn slow<S>(client: &mut S, requests: &Requests, go_on: impl Fn() -> bool, calls: u32) -> f64
where
    S: Service<Request<()>, Response = Response<()>>,
{
    let (mut slowest, mut made) = (Duration::ZERO, 0);
    while made < calls || go_on() {
        let request = requests.next();
        let start = Instant::now();
        call(client, request);
        slowest = slowest.max(start.elapsed());
        made += 1;
    }
    slowest.as_secs_f64() * 1e6
}
