//! What the metrics say.
#![cfg(feature = "metrics")]

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    future::{Future, pending, ready},
    time::{Duration, SystemTime},
};

use harness::{HOUR, Logins, client, request, secs, send, token};
use http::Response;
use metrics::Recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, Error, LoginError, ReplayClone};

/// Runs a test in paused time, with a recorder of its own that lives as long.
fn recorded<F: Future<Output = ()>>(test: impl FnOnce(Snapshotter) -> F) {
    let recorder = DebuggingRecorder::new();
    recorded_by(&recorder, test(recorder.snapshotter()));
}

fn recorded_by(recorder: &dyn Recorder, test: impl Future<Output = ()>) {
    metrics::with_local_recorder(recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test);
    });
}

/// All there is, as `name{label=value,…}` and its value. Taking it sets all to zero.
fn all(snapshotter: &Snapshotter) -> Vec<(String, DebugValue)> {
    let said = |(key, _, _, value): (metrics_util::CompositeKey, _, _, _)| {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
    };
    snapshotter.snapshot().into_vec().into_iter().map(said).collect()
}

fn find(all: &[(String, DebugValue)], key: &str) -> f64 {
    let Some((_, value)) = all.iter().find(|(name, _)| name == key) else { panic!("no {key} in {all:?}") };
    match value {
        DebugValue::Counter(count) => *count as f64,
        DebugValue::Gauge(value) => value.into_inner(),
        DebugValue::Histogram(values) => values.iter().map(|value| value.into_inner()).sum(),
    }
}

fn value(snapshotter: &Snapshotter, key: &str) -> f64 {
    find(&all(snapshotter), key)
}

const EXPIRY: &str = "auth_refresh_token_expiry_timestamp_seconds{refresher=default}";
const WAITING: &str = "auth_refresh_waiting_requests{refresher=default}";

#[test]
fn logins_are_counted_and_timed_by_their_outcome() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|n| async move {
            sleep(secs(n as u64)).await;
            match n {
                1 => Err("down".into()),
                2 => Err(LoginError::permanent("wrong password").into()),
                _ => token(n, HOUR),
            }
        });
        for _ in 0..3 {
            let _ = send(&refresher).await;
            sleep(secs(2)).await;
        }
        let all = all(&snapshotter);
        for (outcome, seconds) in [("failure_transient", 1.0), ("failure_permanent", 2.0), ("success", 3.0)] {
            let labels = format!("{{refresher=default,outcome={outcome}}}");
            assert_eq!(find(&all, &format!("auth_refresh_logins_total{labels}")), 1.0);
            assert_eq!(find(&all, &format!("auth_refresh_login_duration_seconds{labels}")), seconds);
        }
    });
}

#[test]
fn a_login_that_is_dropped_or_superseded_is_counted_as_that() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|n| async move {
            sleep(secs(1)).await;
            if n == 4 { pending().await } else { token(n, HOUR) }
        });
        refresher.ready().await.unwrap();
        // In the middle of the refresh, which lasts from 3300 to 3301 s.
        sleep(HOUR - secs(301)).await;
        sleep(Duration::from_millis(500)).await;
        refresher.invalidate();
        send(&refresher).await.unwrap();
        assert_eq!(value(&snapshotter, "auth_refresh_logins_total{refresher=default,outcome=superseded}"), 1.0);
        sleep(HOUR - secs(290)).await;
        drop(refresher);
        sleep(secs(1)).await;
        assert_eq!(value(&snapshotter, "auth_refresh_logins_total{refresher=default,outcome=abandoned}"), 1.0);
    });
}

#[test]
fn the_end_of_the_token_is_told_and_that_there_is_none() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|n| async move {
            match n {
                1 => token(n, HOUR),
                2 => Ok(tower_auth_refresh::AccessToken::bearer("endless")?),
                _ => pending().await,
            }
        });
        refresher.ready().await.unwrap();
        let Some(tower_auth_refresh::Expiry::At(end)) = refresher.status().expires else { panic!("no end") };
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert_eq!(value(&snapshotter, EXPIRY), end);
        refresher.refresh().await.unwrap();
        assert_eq!(value(&snapshotter, EXPIRY), f64::INFINITY);
        refresher.invalidate();
        sleep(secs(1)).await;
        assert_eq!(value(&snapshotter, EXPIRY), 0.0);
        drop(refresher);
        sleep(secs(1)).await;
        assert!(value(&snapshotter, EXPIRY).is_nan());
    });
}

#[test]
fn calls_that_wait_are_counted_until_they_end_or_are_dropped() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|n| async move {
            sleep(secs(5)).await;
            token(n, HOUR)
        });
        let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(client(&refresher).oneshot(request()))).collect();
        sleep(secs(1)).await;
        assert_eq!(value(&snapshotter, WAITING), 3.0);
        // The recorder starts again at zero after each look.
        waiting[0].abort();
        sleep(secs(1)).await;
        assert_eq!(value(&snapshotter, WAITING), -1.0);
        sleep(secs(4)).await;
        assert_eq!(value(&snapshotter, WAITING), -2.0);
    });
}

#[test]
fn rejections_and_replays_are_counted() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|n| async move { token(n, HOUR) });
        refresher.ready().await.unwrap();
        let api = service_fn(|request: http::Request<()>| async move {
            let status = if request.headers()["authorization"] == "Bearer t1" { 401 } else { 200 };
            Response::builder().status(status).body(()).map_err(BoxError::from)
        });
        let client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(api);
        // Too young, then not.
        assert_eq!(client.clone().oneshot(request()).await.unwrap().status(), 401);
        sleep(secs(2)).await;
        assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
        let all = all(&snapshotter);
        for effect in ["ignored", "login"] {
            let key = format!("auth_refresh_rejections_total{{refresher=default,effect={effect}}}");
            assert_eq!(find(&all, &key), 1.0);
        }
        assert_eq!(find(&all, "auth_refresh_replays_total{refresher=default}"), 1.0);
    });
}

#[test]
fn requests_that_are_not_sent_are_counted_by_reason() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|_| async { Err("down".into()) });
        assert!(matches!(send(&refresher).await, Err(Error::Login(_))));
        let elsewhere = http::Request::get("http://api.example.com/").body(()).unwrap();
        assert!(matches!(client(&refresher).oneshot(elsewhere).await, Err(Error::Destination(_))));
        refresher.shutdown();
        assert!(send(&refresher).await.is_err());
        let all = all(&snapshotter);
        for reason in ["login_failed", "plaintext", "shut_down"] {
            let key = format!("auth_refresh_requests_not_sent_total{{refresher=default,reason={reason}}}");
            assert_eq!(find(&all, &key), 1.0);
        }
    });
}

#[test]
fn a_name_tells_refreshers_apart() {
    recorded(|snapshotter| async move {
        for name in ["billing", "search"] {
            let refresher = Logins::default().builder(|n| async move { token(n, HOUR) }).name(name).build().unwrap();
            assert_eq!(AuthRefresher::name(&refresher), Some(name));
            refresher.ready().await.unwrap();
        }
        let all = all(&snapshotter);
        for name in ["billing", "search"] {
            assert_eq!(find(&all, &format!("auth_refresh_logins_total{{refresher={name},outcome=success}}")), 1.0);
        }
    });
}

#[test]
fn each_metric_is_described() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|n| async move { token(n, HOUR) });
        refresher.ready().await.unwrap();
        for (key, _, description, _) in snapshotter.snapshot().into_vec() {
            // The first to wait does so before the worker has started.
            assert!(description.is_some(), "{key:?}");
        }
    });
}

#[test]
fn that_there_has_never_been_a_token_is_told_as_that_there_is_none() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|_| async { Err(LoginError::permanent("wrong password").into()) });
        send(&refresher).await.unwrap_err();
        let all = all(&snapshotter);
        assert_eq!(find(&all, EXPIRY), 0.0);
    });
}

#[test]
fn that_nobody_wants_a_token_is_told_whenever_it_begins_and_ends() {
    recorded(|snapshotter| async move {
        let logins =
            Logins::default().builder(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } });
        let refresher = logins.pause_when_idle(secs(600)).build().unwrap();
        send(&refresher).await.unwrap();
        // The token ends in an outage, with requests until then and after.
        for _ in 0..70 {
            sleep(secs(60)).await;
            let _ = send(&refresher).await;
        }
        assert_eq!(value(&snapshotter, EXPIRY), 0.0, "somebody wants one");
        sleep(10 * HOUR).await;
        assert!(value(&snapshotter, EXPIRY).is_nan(), "nobody does");
        send(&refresher).await.unwrap_err();
        assert_eq!(value(&snapshotter, EXPIRY), 0.0, "somebody does again");
    });
}

/// Else the first of its kind, which may be the only one, would be no increase.
#[test]
fn each_counter_is_there_before_it_has_counted() {
    recorded(|snapshotter| async move {
        let refresher = Logins::default().refresher(|n| ready(token(n, HOUR)));
        refresher.ready().await.unwrap();
        let all = all(&snapshotter);
        for (name, label, values) in [
            ("logins", "outcome", "failure_transient failure_permanent superseded abandoned"),
            ("rejections", "effect", "login newer_token ignored"),
            ("requests_not_sent", "reason", "plaintext no_authority origin_not_allowed login_failed timeout shut_down"),
        ] {
            for value in values.split(' ') {
                assert_eq!(find(&all, &format!("auth_refresh_{name}_total{{refresher=default,{label}={value}}}")), 0.0);
            }
        }
        assert_eq!(find(&all, "auth_refresh_replays_total{refresher=default}"), 0.0);
    });
}

/// What is to be found of a metric in the exposition format, once each.
#[test]
fn a_prometheus_server_is_told_of_all_in_its_own_words() {
    let recorder = PrometheusBuilder::new().set_buckets(&[1.0, 10.0]).unwrap().build_recorder();
    let handle = recorder.handle();
    recorded_by(&recorder, async {
        let logins = Logins::default();
        let refresher = logins.builder(|n| async move {
            sleep(secs(2)).await;
            token(n, HOUR)
        });
        let refresher = refresher.name("a \"b\"").build().unwrap();
        send(&refresher).await.unwrap();
        let text = handle.render();
        for line in [
            "# HELP auth_refresh_logins_total Completed logins, by outcome.",
            "# TYPE auth_refresh_logins_total counter",
            r#"auth_refresh_logins_total{refresher="a \"b\"",outcome="success"} 1"#,
            "# TYPE auth_refresh_login_duration_seconds histogram",
            r#"auth_refresh_login_duration_seconds_bucket{refresher="a \"b\"",outcome="success",le="1"} 0"#,
            r#"auth_refresh_login_duration_seconds_bucket{refresher="a \"b\"",outcome="success",le="10"} 1"#,
            "# TYPE auth_refresh_token_expiry_timestamp_seconds gauge",
            r#"auth_refresh_token_expiry_timestamp_seconds{refresher="a \"b\""} 1800003600"#,
            r#"auth_refresh_waiting_requests{refresher="a \"b\""} 0"#,
        ] {
            assert_eq!(text.lines().filter(|said| *said == line).count(), 1, "{line}\n{text}");
        }
    });
}
