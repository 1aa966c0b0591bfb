//! The metrics: their names, labels and units.

use std::{sync::Arc, time::SystemTime};

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const LOGINS: &str = "auth_refresh_logins_total";
const LOGIN_DURATION: &str = "auth_refresh_login_duration_seconds";
const EXPIRY: &str = "auth_refresh_token_expiry_timestamp_seconds";
const REJECTIONS: &str = "auth_refresh_rejections_total";
const REPLAYS: &str = "auth_refresh_replays_total";
const WAITING: &str = "auth_refresh_waiting_requests";
const REFUSED: &str = "auth_refresh_requests_refused_total";

/// Says what each metric is. A recorder may be installed late, so each worker says it when it starts.
pub(super) fn describe() {
    describe_counter!(LOGINS, Unit::Count, "Logins that have ended, by outcome.");
    describe_histogram!(LOGIN_DURATION, Unit::Seconds, "How long logins took, by outcome.");
    describe_gauge!(
        EXPIRY,
        "When the newest token ends (Unix time); +Inf: no end is known, 0: there is none, NaN: nobody keeps it fresh."
    );
    describe_counter!(REJECTIONS, Unit::Count, "Responses that rejected the token, by what was done about it.");
    describe_counter!(REPLAYS, Unit::Count, "Requests that were sent once more with a newer token.");
    describe_gauge!(WAITING, Unit::Count, "Calls that wait for a token now.");
    describe_counter!(REFUSED, Unit::Count, "Requests that were not sent, by reason.");
}

/// A series that is born at one has no increase: whoever alerts on the first must have seen none before.
pub(super) fn register(refresher: &Arc<str>) {
    for outcome in ["success", "failure_transient", "failure_permanent", "superseded", "abandoned"] {
        counter!(LOGINS, "refresher" => refresher.clone(), "outcome" => outcome).increment(0);
    }
    for effect in ["login", "newer_token", "ignored"] {
        counter!(REJECTIONS, "refresher" => refresher.clone(), "effect" => effect).increment(0);
    }
    for reason in ["plain_text", "unknown_destination", "foreign_origin", "login_failed", "timeout", "shut_down"] {
        counter!(REFUSED, "refresher" => refresher.clone(), "reason" => reason).increment(0);
    }
    counter!(REPLAYS, "refresher" => refresher.clone()).increment(0);
    gauge!(WAITING, "refresher" => refresher.clone()).increment(0.0);
}

pub(super) fn login_ended(refresher: Arc<str>, outcome: &'static str, seconds: f64) {
    counter!(LOGINS, "refresher" => refresher.clone(), "outcome" => outcome).increment(1);
    histogram!(LOGIN_DURATION, "refresher" => refresher, "outcome" => outcome).record(seconds);
}

/// `None`: no end is known.
pub(super) fn token_ends(refresher: Arc<str>, end: Option<SystemTime>) {
    let since_epoch = end.map(|end| end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    gauge!(EXPIRY, "refresher" => refresher).set(since_epoch.map_or(f64::INFINITY, |time| time.as_secs_f64()));
}

/// It was rejected or has ended, or there has been none yet.
pub(super) fn no_token(refresher: Arc<str>) {
    gauge!(EXPIRY, "refresher" => refresher).set(0.0);
}

pub(super) fn token_unwatched(refresher: Arc<str>) {
    gauge!(EXPIRY, "refresher" => refresher).set(f64::NAN);
}

pub(super) fn rejection(refresher: Arc<str>, effect: &'static str) {
    counter!(REJECTIONS, "refresher" => refresher, "effect" => effect).increment(1);
}

pub(super) fn replay(refresher: Arc<str>) {
    counter!(REPLAYS, "refresher" => refresher).increment(1);
}

pub(super) fn refused(refresher: Arc<str>, reason: &'static str) {
    counter!(REFUSED, "refresher" => refresher, "reason" => reason).increment(1);
}

/// A call that waits. It is counted off where it was counted, whichever recorder is installed meanwhile.
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
