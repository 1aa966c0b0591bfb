//! Status, subscription, forced refreshes, events and spans.
#![cfg(feature = "tracing")]

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{HOUR, MockLogin, TestClock, secs, send, token};
use tokio::time::{Instant, sleep};
use tower::Service;
use tower_auth_refresh::{AuthRefreshLayer, BoxError, Clock, Expiry, LoginReason, State};
use tracing::{
    Event, Instrument,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, Subscriber},
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    registry::{LookupSpan, Registry},
};

#[tokio::test(start_paused = true)]
async fn status_reports_state_times_failures_and_error() {
    let (logins, clock) = (MockLogin::default(), TestClock::default());
    let refresher = logins
        .builder(|n| async move {
            sleep(secs(1)).await;
            if n == 2 { Err("down".into()) } else { token(n, HOUR) }
        })
        .clock(clock.clone())
        .build()
        .unwrap();
    let status = refresher.status();
    assert_eq!((status.state, status.generation, status.consecutive_failures), (State::Idle, 0, 0));
    assert_eq!((status.issued_at, status.expires), (None, None));
    assert!(status.last_error.is_none());

    let issued = clock.now();
    refresher.ready().await.unwrap();
    let status = refresher.status();
    assert_eq!((status.state, status.generation), (State::Ready, 1));
    assert_eq!((status.issued_at, status.expires), (Some(issued), Some(Expiry::At(issued + HOUR))));

    refresher.refresh().await.unwrap_err();
    let status = refresher.status();
    assert_eq!(
        (status.state, status.generation, status.consecutive_failures),
        (State::Ready, 1, 1)
    );
    assert_eq!(status.last_error.unwrap().to_string(), "login failed");

    sleep(secs(2)).await;
    refresher.refresh().await.unwrap();
    let status = refresher.status();
    assert_eq!(
        (status.state, status.generation, status.consecutive_failures),
        (State::Ready, 2, 0)
    );
    assert!(status.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn subscriber_sees_each_state_until_shutdown() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(secs(1)).await;
        if n == 1 { token(n, secs(60)) } else { Err("down".into()) }
    });
    let mut status = refresher.subscribe();
    let states = tokio::spawn(async move {
        let mut states = vec![status.borrow_and_update().state];
        while status.changed().await.is_ok() {
            let state = status.borrow_and_update().state;
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
        states
    });
    tokio::task::yield_now().await;
    refresher.ready().await.unwrap();
    sleep(secs(46)).await;
    sleep(secs(16)).await;
    refresher.shutdown();
    drop(refresher);
    let states = states.await.unwrap();
    assert_eq!(states[..4], [State::Idle, State::LoggingIn, State::Ready, State::Refreshing]);
    assert!(states.contains(&State::Failed));
    assert_eq!(states.last(), Some(&State::ShutDown));
}

#[tokio::test(start_paused = true)]
async fn forced_refresh_after_failure_respects_backoff() {
    let logins = MockLogin::default();
    let refresher = logins
        .refresher(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } });
    refresher.ready().await.unwrap();
    sleep(secs(1)).await;
    for _ in 0..10 {
        assert_eq!(refresher.refresh().await.unwrap_err().to_string(), "login failed");
    }
    assert_eq!(logins.started(), 2);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn forced_refreshes_are_spaced_by_minimum_backoff() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    let start = Instant::now();
    for _ in 0..10 {
        refresher.refresh().await.unwrap();
    }
    assert_eq!(logins.started(), 10);
    assert!(start.elapsed() >= secs(4), "the logins are less than half a second apart");
}

#[tokio::test(start_paused = true)]
async fn token_valid_for_refreshes_token_that_expires_sooner() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(900)).await;
    assert_eq!(refresher.token_valid_for(secs(900)).await.unwrap().header_value(), "Bearer t1");
    assert_eq!(refresher.token_valid_for(secs(901)).await.unwrap().header_value(), "Bearer t2");
    assert_eq!(logins.requests()[1].reason, LoginReason::Forced);
    // No token lives for that long, so further calls cause no logins.
    for _ in 0..100 {
        assert_eq!(refresher.token_valid_for(2 * HOUR).await.unwrap().header_value(), "Bearer t2");
        sleep(secs(1)).await;
    }
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn token_valid_for_returns_live_token_if_login_fails() {
    let logins = MockLogin::default();
    let refresher = logins
        .refresher(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } });
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(400)).await;
    assert_eq!(refresher.token_valid_for(secs(600)).await.unwrap().header_value(), "Bearer t1");
    assert_eq!(logins.started(), 2);
    refresher.invalidate();
    assert!(refresher.token_valid_for(secs(600)).await.is_err());
}

#[test]
fn debug_output_shows_status_and_settings() {
    let builder = MockLogin::default().builder(|n| async move { token(n, HOUR) });
    assert!(format!("{builder:?}").contains("login_timeout: 30s"), "{builder:?}");
    let refresher = builder.build().unwrap();
    assert!(format!("{refresher:?}").contains("state: Idle"), "{refresher:?}");
}

#[tokio::test(start_paused = true)]
async fn token_secret_can_be_read_without_request() {
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    assert_eq!(refresher.token().await.unwrap().secret(), "t1");
}

/// Sets a subscriber with this layer for the current thread, until the guard is dropped.
fn set_subscriber(layer: impl Layer<Registry> + Send + Sync) -> DefaultGuard {
    crate::dispatch::ask_each_dispatcher();
    tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
}

/// Records the events of this crate with their fields and their span.
#[derive(Clone, Default)]
struct EventRecorder(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for EventRecorder {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "tower_auth_refresh" {
            return;
        }
        let mut line = String::new();
        event.record(&mut Fields(&mut line));
        if let Some(span) = context.event_span(event) {
            line += &format!(" in {}", span.name());
        }
        self.0.lock().unwrap().push(format!("{} {line}", event.metadata().level()));
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => *self.0 += &format!(" {name}={value:?}"),
        }
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        *self.0 += &format!(" {}={}", field.name(), crate::support::chain(value).join(": "));
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_ordered_and_outside_spans_of_callers() {
    let recorder = EventRecorder::default();
    let _default = set_subscriber(recorder.clone());

    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        sleep(secs(1)).await;
        match n {
            1 | 4 => token(n, secs(60)),
            _ => Err("down".into()),
        }
    });
    send(&refresher).instrument(tracing::info_span!("request")).await.unwrap();
    // The refresh starts after 45 s. It fails at 46 and 47.5 s, and succeeds at 49.5 s.
    sleep(secs(50)).await;
    refresher.invalidate();
    sleep(secs(1) + Duration::from_millis(100)).await;
    let events = recorder.0.lock().unwrap().clone();
    assert_eq!(
        events,
        [
            "DEBUG login started reason=First attempt=1 in login",
            "INFO login succeeded generation=1 elapsed=1s in login",
            "DEBUG login started reason=Expiring attempt=1 in login",
            "WARN login failed error=login failed: down failures=1 elapsed=1s retry_in=500ms in login",
            "DEBUG login started reason=Expiring attempt=2 in login",
            "WARN login failed error=login failed: down failures=2 elapsed=1s retry_in=1s in login",
            "DEBUG login started reason=Expiring attempt=3 in login",
            "INFO login succeeded generation=2 elapsed=1s in login",
            "INFO token rejected generation=2",
            "DEBUG login started reason=Rejected { challenge: None } attempt=1 in login",
            "WARN login failed error=login failed: down failures=1 elapsed=1s retry_in=500ms in login",
        ]
    );
}

/// Records the spans of logins, and the fields that are added to them later.
#[derive(Clone, Default)]
struct SpanRecorder(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanRecorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() == "login" {
            let mut line = format!("login root={}", attributes.is_root());
            attributes.record(&mut Fields(&mut line));
            self.0.lock().unwrap().push(line);
        }
    }
    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut line = String::new();
        values.record(&mut Fields(&mut line));
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test(start_paused = true)]
async fn login_span_is_root_and_records_reason_and_outcome() {
    let spans = SpanRecorder::default();
    let _default = set_subscriber(spans.clone());
    let logins = MockLogin::default();
    let builder =
        logins.builder(|n| async move { if n == 1 { Err("down".into()) } else { token(n, HOUR) } });
    let refresher = builder.name("billing").build().unwrap();
    send(&refresher).instrument(tracing::info_span!("request")).await.unwrap_err();
    sleep(secs(1)).await;
    send(&refresher).instrument(tracing::info_span!("request")).await.unwrap();
    assert_eq!(
        *spans.0.lock().unwrap(),
        [
            r#"login root=true reason="first" attempt=1 refresher="billing""#,
            r#" outcome="failure_transient""#,
            r#"login root=true reason="first" attempt=2 refresher="billing""#,
            r#" outcome="success""#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn ignored_rejection_is_recorded_with_reason() {
    let recorder = EventRecorder::default();
    let _default = set_subscriber(recorder.clone());
    let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
    let rejecting = tower::service_fn(|_: http::Request<()>| {
        std::future::ready(http::Response::builder().status(401).body(()).map_err(BoxError::from))
    });
    let mut client = tower::Layer::layer(&AuthRefreshLayer::new(refresher), rejecting);
    for (event, wait) in [
        ("DEBUG rejection ignored generation=1 reason=\"token too new\"", 2),
        ("INFO token rejected generation=1", 0),
    ] {
        client.call(crate::support::request()).await.unwrap();
        let last =
            recorder.0.lock().unwrap().iter().rfind(|event| event.contains("reject")).cloned();
        assert_eq!(last.as_deref(), Some(event));
        sleep(secs(wait)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn token_expiry_is_recorded_once() {
    let recorder = EventRecorder::default();
    let _default = set_subscriber(recorder.clone());
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move { if n == 1 { token(n, secs(60)) } else { Err("down".into()) } })
        .no_token_policy(tower_auth_refresh::NoTokenPolicy::ServeStale { max_stale: secs(600) })
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    sleep(HOUR).await;
    let events = recorder.0.lock().unwrap().clone();
    assert_eq!(events.iter().filter(|event| event.contains("token expired")).count(), 1);
    assert!(events.contains(&"INFO token expired generation=1".to_owned()));
}
