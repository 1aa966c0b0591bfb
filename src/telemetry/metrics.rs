//! The metrics: their names, labels and units.

use std::{sync::Arc, time::SystemTime};

use metrics::{
    Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::values::ExpiryGauge;

const LOGINS: &str = "auth_refresh_logins_total";
const LOGIN_DURATION: &str = "auth_refresh_login_duration_seconds";
const EXPIRY: &str = "auth_refresh_token_expiry_timestamp_seconds";
const REJECTIONS: &str = "auth_refresh_rejections_total";
const REPLAYS: &str = "auth_refresh_replays_total";
#[cfg(feature = "keyed")]
const KEY_EVENTS: &str = "auth_refresh_key_events_total";
const WAITING: &str = "auth_refresh_waiting_requests";
const NOT_SENT: &str = "auth_refresh_requests_not_sent_total";

/// Describes each metric. A recorder may be installed late, so each worker does this when it starts.
pub(super) fn describe() {
    describe_counter!(LOGINS, Unit::Count, "Completed logins, by outcome.");
    describe_histogram!(LOGIN_DURATION, Unit::Seconds, "Duration of logins, by outcome.");
    describe_gauge!(
        EXPIRY,
        "Expiry of the newest token (Unix time). +Inf: no known expiry, 0: no token, NaN: no worker refreshes it."
    );
    describe_counter!(REJECTIONS, Unit::Count, "Responses that rejected the token, by effect.");
    describe_counter!(REPLAYS, Unit::Count, "Requests replayed with a newer token.");
    describe_gauge!(WAITING, Unit::Count, "Calls that wait for a token.");
    describe_counter!(NOT_SENT, Unit::Count, "Requests that were not sent, by reason.");
}

#[cfg(feature = "keyed")]
pub(super) fn key_event(refresher: Arc<str>, event: &'static str) {
    describe_counter!(KEY_EVENTS, Unit::Count, "Events of the keys of a handle, by event.");
    for registered in ["created", "evicted", "forgotten", "refused"] {
        let counter = counter!(KEY_EVENTS, "refresher" => refresher.clone(), "event" => registered);
        counter.increment(u64::from(registered == event));
    }
}

/// Registers each counter at zero. A series that starts at one has no increase, so an alert on the first would not fire.
pub(super) fn register(refresher: &Arc<str>) {
    for outcome in ["success", "failure_transient", "failure_permanent", "discarded", "abandoned"] {
        counter!(LOGINS, "refresher" => refresher.clone(), "outcome" => outcome).increment(0);
    }
    for effect in ["login", "newer_token", "ignored"] {
        counter!(REJECTIONS, "refresher" => refresher.clone(), "effect" => effect).increment(0);
    }
    for reason in
        ["plaintext", "no_authority", "origin_not_allowed", "login_failed", "timeout", "shut_down"]
    {
        counter!(NOT_SENT, "refresher" => refresher.clone(), "reason" => reason).increment(0);
    }
    counter!(REPLAYS, "refresher" => refresher.clone()).increment(0);
    gauge!(WAITING, "refresher" => refresher.clone()).increment(0.0);
}

pub(super) fn login_ended(refresher: Arc<str>, outcome: &'static str, seconds: f64) {
    counter!(LOGINS, "refresher" => refresher.clone(), "outcome" => outcome).increment(1);
    histogram!(LOGIN_DURATION, "refresher" => refresher, "outcome" => outcome).record(seconds);
}

pub(super) fn set_expiry(refresher: Arc<str>, value: ExpiryGauge) {
    gauge!(EXPIRY, "refresher" => refresher).set(match value {
        ExpiryGauge::Unset => f64::NAN,
        ExpiryGauge::NoToken => 0.0,
        ExpiryGauge::NoExpiry => f64::INFINITY,
        ExpiryGauge::At(time) => {
            time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
        }
    });
}

pub(super) fn rejection(refresher: Arc<str>, effect: &'static str) {
    counter!(REJECTIONS, "refresher" => refresher, "effect" => effect).increment(1);
}

pub(super) fn request_replayed(refresher: Arc<str>) {
    counter!(REPLAYS, "refresher" => refresher).increment(1);
}

pub(super) fn request_not_sent(refresher: Arc<str>, reason: &'static str) {
    counter!(NOT_SENT, "refresher" => refresher, "reason" => reason).increment(1);
}

/// A call that waits. It is subtracted from the gauge to which it was added, even if another recorder is installed in
/// between.
pub(super) struct Waiting(Gauge);

impl Waiting {
    pub(super) fn new(refresher: Arc<str>) -> Self {
        let waiting = gauge!(WAITING, "refresher" => refresher);
        waiting.increment(1.0);
        Self(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
