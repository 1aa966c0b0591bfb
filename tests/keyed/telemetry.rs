//! Events and metrics name no key.
#![cfg(all(feature = "tracing", feature = "metrics"))]

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use http::{Request, Response, StatusCode};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::time::sleep;
use tower::{BoxError, Layer as _, Service, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefreshers, ReplayClone};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::{
    KeyedLogins,
    support::{HOUR, secs},
};

const KEY: &str = "secret-tenant";

/// Records the fields of the events and spans of this crate, one line each.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Recorder {
    fn record(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        if metadata.target() == "tower_auth_refresh" {
            let mut fields = Fields(metadata.name().to_owned());
            record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.record(event.metadata(), |fields| event.record(fields));
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.record(attributes.metadata(), |fields| attributes.record(fields));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
}

/// The first login fails, and the token of the second is rejected. A new key is refused, and a request has no key.
async fn use_everything(name: Option<&str>, key_name: Option<&'static str>) {
    let logins = KeyedLogins::<String>::new();
    let factory = {
        let logins = logins.clone();
        move |key: &String| {
            let (logins, counted) = (logins.clone(), key.clone());
            let builder = logins.clone().builder(key, move |_| {
                let is_first = logins.started(&counted) == 1;
                async move { if is_first { Err("issuer unavailable".into()) } else { Ok(HOUR) } }
            });
            match key_name {
                Some(name) => builder.name(name),
                None => builder,
            }
        }
    };
    let builder = AuthRefreshers::builder(factory).capacity(1).new_keys(2, secs(3600));
    let builder = match name {
        Some(name) => builder.name(name),
        None => builder,
    };
    let refreshers = builder.build().unwrap();
    let api = service_fn(|request: Request<()>| async move {
        let is_second = request.headers()["authorization"].to_str()?.ends_with(".2");
        let status = if is_second { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        Ok::<_, BoxError>(Response::builder().status(status).body(())?)
    });
    let mut service = AuthRefreshLayer::keyed(refreshers.clone()).replay(ReplayClone).layer(api);
    let mut call = async |key: Option<&str>| {
        let mut request = Request::get("https://api.example.com/").body(()).unwrap();
        if let Some(key) = key {
            request.extensions_mut().insert(key.to_owned());
        }
        service.ready().await.unwrap().call(request).await
    };
    call(Some(KEY)).await.unwrap_err();
    sleep(secs(10)).await;
    refreshers.get(&KEY.to_owned()).unwrap().ready().await.unwrap();
    sleep(secs(10)).await;
    call(Some(KEY)).await.unwrap();
    call(None).await.unwrap_err();
    // Evicts the first key.
    call(Some("another")).await.unwrap_err();
    call(Some("refused")).await.unwrap_err();
    refreshers.forget(&"another".to_owned());
}

async fn lines(name: Option<&str>, key_name: Option<&'static str>) -> Vec<String> {
    crate::dispatch::ask_each_dispatcher();
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    let _default = tracing::subscriber::set_default(subscriber);
    use_everything(name, key_name).await;
    let lines = recorder.lines();
    for text in ["login failed", "token rejected"] {
        assert!(lines.iter().any(|line| line.contains(text)), "{text} is missing in {lines:?}");
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn events_and_spans_have_no_key_and_no_name_by_default() {
    for line in lines(None, None).await {
        assert!(!line.contains(KEY) && !line.contains("refresher="), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_have_the_name_that_the_caller_has_set() {
    for (name, key_name, expected) in [
        (Some("orders"), None, "orders"),
        (None, Some("tenant 7"), "tenant 7"),
        (Some("orders"), Some("tenant 7"), "tenant 7"),
    ] {
        let lines = lines(name, key_name).await;
        let expected = format!("refresher={expected:?}");
        for line in &lines {
            assert!(!line.contains(KEY), "{line}");
        }
        let of_login = lines.iter().find(|line| line.contains("login failed")).unwrap();
        assert!(of_login.contains(&expected), "{of_login}");
    }
}

#[test]
fn metrics_have_the_label_of_the_handle_and_no_other() {
    for (name, label) in [(Some("orders"), "orders"), (None, "default")] {
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(use_everything(name, Some("tenant 7")));
        });
        let (mut key_events, mut not_sent) = (Vec::new(), Vec::new());
        for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
            let key = key.key();
            let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
            assert!(labels.contains(&("refresher", label)), "{key}");
            assert!(!labels.iter().any(|(_, value)| value.contains(KEY) || *value == "tenant 7"));
            assert_ne!(key.name(), "auth_refresh_token_expiry_timestamp_seconds");
            if key.name() == "auth_refresh_key_events_total" {
                let event = labels.iter().find(|(key, _)| *key == "event").unwrap().1;
                let DebugValue::Counter(count) = value else { panic!("{value:?}") };
                key_events.push((event.to_owned(), count));
            } else if key.name() == "auth_refresh_requests_not_sent_total"
                && !matches!(value, DebugValue::Counter(0))
            {
                not_sent
                    .push(labels.iter().find(|(key, _)| *key == "reason").unwrap().1.to_owned());
            }
        }
        not_sent.sort();
        assert_eq!(not_sent, ["login_failed", "new_key_limit", "no_key"]);
        key_events.sort();
        let expected = [("created", 2), ("evicted", 1), ("forgotten", 1), ("refused", 1)];
        assert_eq!(key_events, expected.map(|(event, count)| (event.to_owned(), count)));
    }
}
