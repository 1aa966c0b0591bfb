//! The names, labels and values of the metrics.
#![cfg(feature = "metrics")]

use std::{
    future::{Future, pending, ready},
    time::{Duration, SystemTime},
};

use crate::support::{HOUR, MockLogin, client, request, secs, send, token};
use http::Response;
use metrics::Recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher, Error, LoginError, ReplayClone};

/// Runs a test in paused time with its own recorder.
fn with_recorder<F: Future<Output = ()>>(test: impl FnOnce(Snapshotter) -> F) {
    let recorder = DebuggingRecorder::new();
    run_with_recorder(&recorder, test(recorder.snapshotter()));
}

fn run_with_recorder(recorder: &dyn Recorder, test: impl Future<Output = ()>) {
    metrics::with_local_recorder(recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(test);
    });
}

/// Returns all metrics as `name{label=value,…}` and value, and resets them to zero.
fn snapshot(snapshotter: &Snapshotter) -> Vec<(String, DebugValue)> {
    let render = |(key, _, _, value): (metrics_util::CompositeKey, _, _, _)| {
        let labels: Vec<_> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
    };
    snapshotter.snapshot().into_vec().into_iter().map(render).collect()
}

fn find(metrics: &[(String, DebugValue)], key: &str) -> f64 {
    let Some((_, value)) = metrics.iter().find(|(name, _)| name == key) else {
        panic!("{key} is missing in {metrics:?}")
    };
    match value {
        DebugValue::Counter(count) => *count as f64,
        DebugValue::Gauge(value) => value.into_inner(),
        DebugValue::Histogram(values) => values.iter().map(|value| value.into_inner()).sum(),
    }
}

fn value(snapshotter: &Snapshotter, key: &str) -> f64 {
    find(&snapshot(snapshotter), key)
}

const EXPIRY: &str = "auth_refresh_token_expiry_timestamp_seconds{refresher=default}";
const WAITING: &str = "auth_refresh_waiting_requests{refresher=default}";

#[test]
fn logins_are_counted_and_timed_by_outcome() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| async move {
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
        let metrics = snapshot(&snapshotter);
        for (outcome, seconds) in
            [("failure_transient", 1.0), ("failure_permanent", 2.0), ("success", 3.0)]
        {
            let labels = format!("{{refresher=default,outcome={outcome}}}");
            assert_eq!(find(&metrics, &format!("auth_refresh_logins_total{labels}")), 1.0);
            assert_eq!(
                find(&metrics, &format!("auth_refresh_login_duration_seconds{labels}")),
                seconds
            );
        }
    });
}

#[test]
fn superseded_and_abandoned_logins_are_counted() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| async move {
            sleep(secs(1)).await;
            if n == 4 { pending().await } else { token(n, HOUR) }
        });
        refresher.ready().await.unwrap();
        // Wait until the middle of the refresh, which lasts from 3300 s to 3301 s.
        sleep(HOUR - secs(301)).await;
        sleep(Duration::from_millis(500)).await;
        refresher.invalidate();
        send(&refresher).await.unwrap();
        assert_eq!(
            value(&snapshotter, "auth_refresh_logins_total{refresher=default,outcome=discarded}"),
            1.0
        );
        sleep(HOUR - secs(290)).await;
        drop(refresher);
        sleep(secs(1)).await;
        assert_eq!(
            value(&snapshotter, "auth_refresh_logins_total{refresher=default,outcome=abandoned}"),
            1.0
        );
    });
}

#[test]
fn expiry_gauge_reports_expiry_or_missing_token() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| async move {
            match n {
                1 => token(n, HOUR),
                2 => Ok(tower_auth_refresh::AccessToken::bearer("no-expiry")?),
                _ => pending().await,
            }
        });
        refresher.ready().await.unwrap();
        let Some(tower_auth_refresh::Expiry::At(expires_at)) = refresher.status().expires else {
            panic!("the expiry is unknown")
        };
        let expires_at = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert_eq!(value(&snapshotter, EXPIRY), expires_at);
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
fn expiry_gauge_is_written_on_changes_only() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
        send(&refresher).await.unwrap();
        // Each snapshot resets the gauge to zero.
        assert!(value(&snapshotter, EXPIRY) > 0.0);
        refresher.status();
        send(&refresher).await.unwrap();
        assert_eq!(value(&snapshotter, EXPIRY), 0.0, "an event without effect wrote the gauge");
        refresher.refresh().await.unwrap();
        assert!(value(&snapshotter, EXPIRY) > 0.0);
    });
}

#[test]
fn waiting_calls_are_counted_until_done_or_dropped() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| async move {
            sleep(secs(5)).await;
            token(n, HOUR)
        });
        let waiting: Vec<_> =
            (0..3).map(|_| tokio::spawn(client(&refresher).oneshot(request()))).collect();
        sleep(secs(1)).await;
        assert_eq!(value(&snapshotter, WAITING), 3.0);
        // Each snapshot resets the gauge to zero.
        waiting[0].abort();
        sleep(secs(1)).await;
        assert_eq!(value(&snapshotter, WAITING), -1.0);
        sleep(secs(4)).await;
        assert_eq!(value(&snapshotter, WAITING), -2.0);
    });
}

#[test]
fn rejections_and_replays_are_counted() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
        refresher.ready().await.unwrap();
        let api = service_fn(|request: http::Request<()>| async move {
            let status = if request.headers()["authorization"] == "Bearer t1" { 401 } else { 200 };
            Response::builder().status(status).body(()).map_err(BoxError::from)
        });
        let client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(api);
        // The first rejection is ignored because the token is too new. The second counts.
        assert_eq!(client.clone().oneshot(request()).await.unwrap().status(), 401);
        sleep(secs(2)).await;
        assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
        let metrics = snapshot(&snapshotter);
        for effect in ["ignored", "login"] {
            let key = format!("auth_refresh_rejections_total{{refresher=default,effect={effect}}}");
            assert_eq!(find(&metrics, &key), 1.0);
        }
        assert_eq!(find(&metrics, "auth_refresh_replays_total{refresher=default}"), 1.0);
    });
}

#[test]
fn unsent_requests_are_counted_by_reason() {
    with_recorder(|snapshotter| async move {
        let login = MockLogin::default().builder(|_| async { Err("down".into()) });
        let refresher = login.name("orders").build().unwrap();
        assert!(matches!(send(&refresher).await, Err(Error::Login(_))));
        let plaintext = http::Request::get("http://api.example.com/").body(()).unwrap();
        assert!(matches!(client(&refresher).oneshot(plaintext).await, Err(Error::Destination(_))));
        refresher.shutdown();
        assert!(send(&refresher).await.is_err());
        let metrics = snapshot(&snapshotter);
        for reason in ["login_failed", "plaintext", "shut_down"] {
            let key =
                format!("auth_refresh_requests_not_sent_total{{refresher=orders,reason={reason}}}");
            assert_eq!(find(&metrics, &key), 1.0);
        }
    });
}

#[test]
fn refresher_name_is_label_of_metrics() {
    with_recorder(|snapshotter| async move {
        for name in ["billing", "search"] {
            let refresher = MockLogin::default()
                .builder(|n| async move { token(n, HOUR) })
                .name(name)
                .build()
                .unwrap();
            assert_eq!(AuthRefresher::name(&refresher), Some(name));
            refresher.ready().await.unwrap();
        }
        let metrics = snapshot(&snapshotter);
        for name in ["billing", "search"] {
            assert_eq!(
                find(
                    &metrics,
                    &format!("auth_refresh_logins_total{{refresher={name},outcome=success}}")
                ),
                1.0
            );
        }
    });
}

#[test]
fn each_metric_is_described() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| async move { token(n, HOUR) });
        refresher.ready().await.unwrap();
        for (key, _, description, _) in snapshotter.snapshot().into_vec() {
            // The first call changes the gauge of waiting calls before the worker has started.
            assert!(description.is_some(), "{key:?}");
        }
    });
}

#[test]
fn expiry_gauge_after_failed_first_login_is_zero() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default()
            .refresher(|_| async { Err(LoginError::permanent("wrong password").into()) });
        send(&refresher).await.unwrap_err();
        let metrics = snapshot(&snapshotter);
        assert_eq!(find(&metrics, EXPIRY), 0.0);
    });
}

#[test]
fn expiry_gauge_is_unset_while_refresher_is_idle() {
    with_recorder(|snapshotter| async move {
        let logins = MockLogin::default()
            .builder(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } });
        let refresher = logins.pause_when_idle(secs(600)).build().unwrap();
        send(&refresher).await.unwrap();
        // The token expires during an outage. Requests come before and after.
        for _ in 0..70 {
            sleep(secs(60)).await;
            let _ = send(&refresher).await;
        }
        assert_eq!(value(&snapshotter, EXPIRY), 0.0, "requests need a token");
        sleep(10 * HOUR).await;
        assert!(value(&snapshotter, EXPIRY).is_nan(), "no request needs a token");
        send(&refresher).await.unwrap_err();
        assert_eq!(value(&snapshotter, EXPIRY), 0.0, "a request needs a token");
    });
}

/// A series that starts at one shows no increase, so a rate would miss the first event.
#[test]
fn each_counter_is_registered_at_zero() {
    with_recorder(|snapshotter| async move {
        let refresher = MockLogin::default().refresher(|n| ready(token(n, HOUR)));
        refresher.ready().await.unwrap();
        let metrics = snapshot(&snapshotter);
        for (name, label, values) in [
            ("logins", "outcome", "failure_transient failure_permanent discarded abandoned"),
            ("rejections", "effect", "login newer_token ignored"),
            (
                "requests_not_sent",
                "reason",
                "plaintext no_authority origin_not_allowed login_failed timeout shut_down",
            ),
        ] {
            for value in values.split(' ') {
                assert_eq!(
                    find(
                        &metrics,
                        &format!("auth_refresh_{name}_total{{refresher=default,{label}={value}}}")
                    ),
                    0.0
                );
            }
        }
        assert_eq!(find(&metrics, "auth_refresh_replays_total{refresher=default}"), 0.0);
    });
}

/// Each line occurs once in the Prometheus exposition format.
#[test]
fn prometheus_output_contains_each_metric_once() {
    let recorder = PrometheusBuilder::new().set_buckets(&[1.0, 10.0]).unwrap().build_recorder();
    let handle = recorder.handle();
    run_with_recorder(&recorder, async {
        let logins = MockLogin::default();
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
            assert_eq!(
                text.lines().filter(|rendered| *rendered == line).count(),
                1,
                "{line}\n{text}"
            );
        }
    });
}
