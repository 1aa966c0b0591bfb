//! User code that misbehaves: recorders, subscribers, clocks and random sources that panic, and subscribers that keep
//! what they read. None of it stops the refresher. An uncaught second panic aborts the process, so the tests named
//! `…_does_not_abort` end the whole run if they fail.
#![cfg(all(feature = "metrics", feature = "tracing"))]

use std::{
    error::Error,
    fmt,
    future::pending,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use crate::support::{HOUR, MockLogin, request, secs, send, token};
use http::Response;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, AuthRefresherBuilder, Clock, ReplayClone, State, SystemClock,
};
use tracing::{
    Event, Metadata as TracingMetadata, Subscriber,
    span::{Attributes, Id, Record},
};

const SCRIPTED: &str = "a panic by script";

/// Keeps the output free of panics that the tests cause.
fn silence_scripted_panics() {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&SCRIPTED)
                && info.payload().downcast_ref::<String>().map(String::as_str) != Some(SCRIPTED)
            {
                hook(info);
            }
        }));
    });
}

/// Panics at one call, counted from 1.
#[derive(Clone, Debug)]
struct PanicsAt {
    call: usize,
    calls: Arc<AtomicUsize>,
}

impl PanicsAt {
    fn new(call: usize) -> Self {
        silence_scripted_panics();
        Self { call, calls: Arc::default() }
    }

    fn call(&self) {
        assert!(self.calls.fetch_add(1, SeqCst) + 1 != self.call, "{SCRIPTED}");
    }

    fn has_panicked(&self) -> bool {
        self.calls.load(SeqCst) >= self.call
    }
}

impl metrics::Recorder for PanicsAt {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.call();
    }
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.call();
    }
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.call();
    }
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.clone()))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(self.clone()))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

impl CounterFn for PanicsAt {
    fn increment(&self, _: u64) {
        self.call();
    }
    fn absolute(&self, _: u64) {
        self.call();
    }
}

impl GaugeFn for PanicsAt {
    fn increment(&self, _: f64) {
        self.call();
    }
    fn decrement(&self, _: f64) {
        self.call();
    }
    fn set(&self, _: f64) {
        self.call();
    }
}

impl HistogramFn for PanicsAt {
    fn record(&self, _: f64) {
        self.call();
    }
}

impl Subscriber for PanicsAt {
    fn enabled(&self, _: &TracingMetadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.call();
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {
        self.call();
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.call();
    }
    fn enter(&self, _: &Id) {
        self.call();
    }
    fn exit(&self, _: &Id) {
        self.call();
    }
    fn try_close(&self, _: Id) -> bool {
        self.call();
        true
    }
}

impl Clock for PanicsAt {
    fn now(&self) -> SystemTime {
        self.call();
        SystemClock.now()
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Logins of which the second fails.
fn builder() -> AuthRefresherBuilder {
    MockLogin::default()
        .builder(|n| async move { if n == 2 { Err("down".into()) } else { token(n, secs(60)) } })
}

/// A token's life: a login, a failed refresh, an expiry, a rejection with a replay, and a runtime that shuts down in
/// the middle.
async fn live(refresher: &AuthRefresher) {
    for _ in 0..3 {
        let _ = send(refresher).await;
        sleep(secs(60)).await;
    }
    let _ = refresher.refresh().await;
    sleep(secs(10)).await;
    let server = service_fn(|_: http::Request<()>| async {
        Response::builder().status(401).body(()).map_err(BoxError::from)
    });
    let _ = AuthRefreshLayer::new(refresher.clone())
        .replay(ReplayClone)
        .layer(server)
        .oneshot(request())
        .await;
}

/// Runs a life on a runtime that then shuts down. A panic may reach the caller in whose call it happens.
fn run_life(refresher: &AuthRefresher) {
    let runtime = current_thread();
    let _ = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(refresher))));
    let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(runtime)));
}

/// The refresher is as good as new: no token is left where no worker withdraws it, and the next call gets one.
fn assert_works(refresher: &AuthRefresher, call: usize) {
    assert_eq!(refresher.status().state, State::Idle, "after a panic at call {call}");
    let runtime = current_thread();
    runtime.block_on(async {
        // Longer than every pause. The clock of a new runtime starts behind the clock of the last one.
        sleep(24 * HOUR).await;
        // This may be the second login, which fails.
        let _ = send(refresher).await;
        sleep(secs(1)).await;
        let sent = send(refresher).await;
        assert!(sent.is_ok(), "after a panic at call {call}: {sent:?}");
    });
}

#[test]
fn recorder_that_panics_at_any_call_does_not_stop_the_refresher() {
    for call in 1.. {
        let recorder = PanicsAt::new(call);
        let refresher = builder().build().unwrap();
        metrics::with_local_recorder(&recorder, || run_life(&refresher));
        assert_works(&refresher, call);
        if !recorder.has_panicked() {
            assert!(call > 50, "the recorder was called {call} times only");
            return;
        }
    }
}

#[test]
fn subscriber_that_panics_at_any_call_does_not_stop_the_refresher() {
    crate::dispatch::ask_each_dispatcher();
    for call in 1.. {
        let subscriber = PanicsAt::new(call);
        let refresher = builder().build().unwrap();
        tracing::subscriber::with_default(subscriber.clone(), || run_life(&refresher));
        assert_works(&refresher, call);
        if !subscriber.has_panicked() {
            assert!(call > 20, "the subscriber was called {call} times only");
            return;
        }
    }
}

#[test]
fn clock_that_panics_at_any_call_does_not_stop_the_refresher() {
    for call in 1.. {
        let clock = PanicsAt::new(call);
        let refresher = builder().clock(clock.clone()).build().unwrap();
        run_life(&refresher);
        if !clock.has_panicked() {
            assert!(call > 20, "the clock was read {call} times only");
            return;
        }
        assert_works(&refresher, call);
    }
}

#[test]
fn rng_that_panics_at_any_call_does_not_stop_the_refresher() {
    for call in 1.. {
        let rng = PanicsAt::new(call);
        let source = rng.clone();
        let number = move || {
            source.call();
            0
        };
        let refresher = builder().jitter(true).rng(number).build().unwrap();
        run_life(&refresher);
        assert_works(&refresher, call);
        if !rng.has_panicked() {
            assert!(call > 3, "the random source was called {call} times only");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn kept_status_blocks_no_caller() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    let mut statuses = refresher.subscribe();
    let before = statuses.borrow();
    let updated = statuses.borrow_and_update();
    let start = Instant::now();
    refresher.ready().await.unwrap();
    refresher.refresh().await.unwrap();
    match statuses.borrow().state {
        State::Ready => drop(refresher.refresh().await.unwrap()),
        state => panic!("{state:?}"),
    }
    assert!(start.elapsed() < secs(5));
    match statuses.borrow().state {
        State::Ready => refresher.shutdown(),
        state => panic!("{state:?}"),
    }
    assert_eq!((before.state, updated.state), (State::Idle, State::Idle));
    assert_eq!(statuses.borrow().state, State::ShutDown);
}

#[tokio::test(start_paused = true)]
async fn condition_of_a_subscriber_can_call_the_refresher() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    let mut statuses = refresher.subscribe();
    refresher.ready().await.unwrap();
    let handle = refresher.clone();
    let status = statuses
        .wait_for(move |status| {
            handle.invalidate();
            status.generation == 1 && handle.status().generation == 1
        })
        .await
        .unwrap();
    assert_eq!(status.generation, 1);
}

#[tokio::test(start_paused = true)]
async fn subscriber_sees_that_the_refresher_was_dropped() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    let mut statuses = refresher.subscribe();
    refresher.ready().await.unwrap();
    drop(refresher);
    assert_eq!(statuses.borrow_and_update().state, State::Idle, "no worker refreshes the token");
    assert_eq!(statuses.changed().await.unwrap_err().to_string(), "refresher dropped");
    assert!(statuses.wait_for(|status| status.generation == 2).await.is_err());
}

/// Panics where it is dropped.
#[derive(Debug)]
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("{SCRIPTED}");
    }
}

impl fmt::Display for PanicsInDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error whose drop panics")
    }
}

impl Error for PanicsInDrop {}

/// Panics at one read to come, counted from 1.
#[derive(Clone, Debug, Default)]
struct PanicsLater(Arc<AtomicUsize>);

impl PanicsLater {
    fn panic_at(&self, read: usize) {
        self.0.store(read, SeqCst);
    }
}

impl Clock for PanicsLater {
    fn now(&self) -> SystemTime {
        let left = self.0.load(SeqCst);
        if left > 0 {
            self.0.store(left - 1, SeqCst);
            assert_ne!(left, 1, "{SCRIPTED}");
        }
        SystemTime::now()
    }
}

#[test]
fn clock_panic_with_panicking_login_drop_does_not_abort() {
    silence_scripted_panics();
    let (clock, logins) = (PanicsLater::default(), MockLogin::default());
    let login = |n| async move {
        if n == 1 {
            let _dropped = PanicsInDrop;
            pending::<()>().await;
        }
        token(n, HOUR)
    };
    let builder =
        logins.builder(login).clock(clock.clone()).initial_token(token(0, secs(60)).unwrap());
    let refresher = builder.build().unwrap();
    current_thread().block_on(async {
        refresher.ready().await.unwrap();
        // The login starts after 45 seconds. It ticks at whole seconds.
        sleep(Duration::from_millis(50_500)).await;
        assert_eq!(logins.running(), 1);
        // `invalidate` reads the clock, then the worker that it wakes.
        clock.panic_at(2);
        refresher.invalidate();
        sleep(secs(1)).await;
        refresher.ready().await.unwrap();
    });
}

#[test]
fn clock_panic_with_panicking_error_drop_does_not_abort() {
    silence_scripted_panics();
    let (clock, logins) = (PanicsLater::default(), MockLogin::default());
    let refresher = logins
        .builder({
            let clock = clock.clone();
            move |n| {
                let clock = clock.clone();
                async move {
                    if n > 1 {
                        return token(n, HOUR);
                    }
                    sleep(Duration::from_millis(5)).await;
                    clock.panic_at(1);
                    Err(Box::new(PanicsInDrop) as BoxError)
                }
            }
        })
        .clock(clock)
        .build()
        .unwrap();
    assert_works(&refresher, 0);
}

/// Panics at the callback of this name, once it has been set.
#[derive(Clone, Default)]
struct PanickingSubscriber(Arc<Mutex<&'static str>>);

impl PanickingSubscriber {
    fn panic_at(&self, callback: &'static str) {
        *self.0.lock().unwrap() = callback;
    }

    fn call(&self, callback: &str) {
        let panics_at = *self.0.lock().unwrap();
        assert!(panics_at != callback && panics_at != "all", "{SCRIPTED}");
    }
}

impl Subscriber for PanickingSubscriber {
    fn enabled(&self, _: &TracingMetadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {
        self.call("record");
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.call("event");
    }
    fn enter(&self, _: &Id) {
        self.call("enter");
    }
    fn exit(&self, _: &Id) {
        self.call("exit");
    }
    fn try_close(&self, _: Id) -> bool {
        self.call("try_close");
        true
    }
}

#[test]
fn subscriber_panic_during_a_login_that_panics_does_not_abort() {
    silence_scripted_panics();
    crate::dispatch::ask_each_dispatcher();
    let (subscriber, logins) = (PanickingSubscriber::default(), MockLogin::default());
    let refresher = logins.refresher({
        let subscriber = subscriber.clone();
        move |n| {
            let subscriber = subscriber.clone();
            async move {
                if n == 1 {
                    subscriber.panic_at("exit");
                    panic!("{SCRIPTED}");
                }
                token(n, HOUR)
            }
        }
    });
    tracing::subscriber::with_default(subscriber.clone(), || {
        current_thread().block_on(async {
            refresher.token().await.unwrap_err();
            subscriber.panic_at("");
        });
        assert_works(&refresher, 0);
    });
}

#[test]
fn subscriber_panic_as_a_login_is_dropped_does_not_abort() {
    silence_scripted_panics();
    crate::dispatch::ask_each_dispatcher();
    for callback in ["enter", "exit", "try_close", "all"] {
        let (subscriber, logins) = (PanickingSubscriber::default(), MockLogin::default());
        let refresher = logins.refresher(|n| async move {
            if n == 1 {
                let _dropped = PanicsInDrop;
                pending::<()>().await;
            }
            token(n, HOUR)
        });
        tracing::subscriber::with_default(subscriber.clone(), || {
            let runtime = current_thread();
            runtime.block_on(async {
                drop(timeout(secs(1), refresher.token()).await);
                assert_eq!(logins.running(), 1);
            });
            subscriber.panic_at(callback);
            drop(runtime);
            subscriber.panic_at("");
        });
        assert_works(&refresher, 0);
    }
}

#[test]
fn subscriber_that_always_panics_stops_no_login() {
    silence_scripted_panics();
    crate::dispatch::ask_each_dispatcher();
    let (subscriber, logins) = (PanickingSubscriber::default(), MockLogin::default());
    let refresher = logins.refresher(|n| async move {
        sleep(secs(2)).await;
        token(n, HOUR)
    });
    tracing::subscriber::with_default(subscriber.clone(), || {
        current_thread().block_on(async {
            drop(timeout(secs(1), refresher.token()).await);
            subscriber.panic_at("all");
            assert_eq!(refresher.token().await.unwrap().secret(), "t1");
        });
    });
}

/// An error whose `source` panics from a certain moment on.
#[derive(Debug)]
struct PanicsInSource(Arc<AtomicBool>);

impl fmt::Display for PanicsInSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error whose source panics")
    }
}

impl Error for PanicsInSource {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        assert!(!self.0.load(SeqCst), "{SCRIPTED}");
        None
    }
}

#[test]
fn error_whose_source_panics_does_not_stop_the_retries() {
    silence_scripted_panics();
    let (panics, logins) = (Arc::new(AtomicBool::new(false)), MockLogin::default());
    let refresher = logins.refresher({
        let panics = panics.clone();
        move |n| {
            let panics = panics.clone();
            async move {
                match n {
                    1 => Err(Box::new(PanicsInSource(panics)) as BoxError),
                    2..4 => pending().await,
                    _ => token(n, HOUR),
                }
            }
        }
    });
    current_thread().block_on(async {
        refresher.token().await.unwrap_err();
        panics.store(true, SeqCst);
        sleep(secs(1)).await;
        assert!(refresher.token().await.unwrap_err().is_timeout());
        sleep(secs(300)).await;
        assert_eq!(refresher.status().state, State::Ready, "after {} logins", logins.started());
    });
}
