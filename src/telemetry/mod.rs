//! Everything that the crate records in `tracing` and `metrics`. No secret is passed here.
//!
//! Without these features nothing is recorded, at no cost. A recorder or subscriber is user code, so nothing here may be
//! called under a lock, and its panics are caught: they must not reach the refresher.
#![cfg_attr(not(all(feature = "tracing", feature = "metrics")), allow(unused_variables))]

use std::sync::Arc;

macro_rules! event {
    ($level:ident, $($rest:tt)*) => {
        #[cfg(feature = "tracing")]
        crate::panic::catch(|| tracing::event!(target: "tower_auth_refresh", tracing::Level::$level, $($rest)*))
    };
}

macro_rules! metric {
    ($($rest:tt)*) => {
        #[cfg(feature = "metrics")]
        crate::panic::catch(|| crate::telemetry::metrics::$($rest)*)
    };
}

mod login_span;
#[cfg(feature = "metrics")]
mod metrics;

mod values;

#[cfg(feature = "keyed")]
pub(crate) use self::values::KeyEvent;
pub(crate) use self::{
    login_span::LoginSpan,
    values::{ExpiryGauge, RejectionEffect},
};

#[cfg(feature = "jwt")]
pub(crate) fn invalid_exp_claim() {
    event!(WARN, "invalid exp claim: token expiry unknown");
}

#[cfg(feature = "jwt")]
pub(crate) fn clock_skew(lifetime: std::time::Duration) {
    event!(WARN, ?lifetime, "clock skew detected: token looks expired, its lifetime is used");
}

#[cfg(feature = "oauth2")]
pub(crate) fn invalid_lifetime(field: &'static str) {
    event!(WARN, field, "invalid lifetime in token response: field ignored");
}

#[cfg(feature = "http-client")]
pub(crate) fn no_trust_roots() {
    event!(WARN, "no trust roots found: https connections will fail");
}

#[cfg(feature = "http-client")]
pub(crate) fn certificate_verification_disabled() {
    event!(
        WARN,
        "certificate verification disabled: an attacker on the network can read and change requests"
    );
}

/// Records that a process uses the token of another process.
#[cfg(feature = "shared")]
pub(crate) fn shared_token_adopted(age: std::time::Duration) {
    event!(DEBUG, ?age, "shared token adopted");
}

#[cfg(feature = "shared")]
pub(crate) fn token_store_unavailable(error: &(dyn std::error::Error + 'static)) {
    event!(WARN, error, "token store unavailable");
}

#[cfg(feature = "shared")]
pub(crate) fn shared_record_unreadable(error: &(dyn std::error::Error + 'static)) {
    event!(WARN, error, "shared token record unreadable");
}

/// Records that another process can log in before this process has stored its token.
#[cfg(feature = "shared")]
pub(crate) fn token_claim_lost() {
    event!(WARN, "token claim lost");
}

/// The label of refreshers without a name.
#[cfg(any(feature = "keyed", feature = "metrics"))]
const DEFAULT_LABEL: &str = "default";

/// What one refresher records, under its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telemetry {
    name: Option<Arc<str>>,
    /// The label that the refresher shares with others. `None`: the label is the name.
    shared_label: Option<Arc<str>>,
}

impl Telemetry {
    pub(crate) fn named(name: Arc<str>) -> Self {
        Self { name: Some(name), shared_label: None }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the telemetry of a key's refresher. Its metrics have the label of the handle, so that no label is for
    /// one key.
    #[cfg(feature = "keyed")]
    pub(crate) fn for_key(self, handle: &Self) -> Self {
        let shared_label = handle.name.clone().unwrap_or_else(|| DEFAULT_LABEL.into());
        Self { name: self.name.or_else(|| handle.name.clone()), shared_label: Some(shared_label) }
    }

    /// Records an event of a handle of many keys.
    #[cfg(feature = "keyed")]
    pub(crate) fn key_event(&self, event: KeyEvent) {
        metric!(key_event(
            self.label(),
            match event {
                KeyEvent::Created => "created",
                KeyEvent::Evicted => "evicted",
                KeyEvent::Forgotten => "forgotten",
                KeyEvent::Refused => "refused",
            }
        ));
    }

    #[cfg(feature = "metrics")]
    fn label(&self) -> Arc<str> {
        self.shared_label
            .clone()
            .or_else(|| self.name.clone())
            .unwrap_or_else(|| DEFAULT_LABEL.into())
    }

    pub(crate) fn register_metrics(&self) {
        metric!(describe());
        metric!(register(&self.label()));
    }

    /// Refreshers that share a label have no gauge, because they would overwrite each other's value.
    pub(crate) fn set_expiry_gauge(&self, value: ExpiryGauge) {
        if self.shared_label.is_none() {
            metric!(set_expiry(self.label(), value));
        }
    }

    pub(crate) fn token_expired(&self, generation: u64) {
        event!(INFO, generation, refresher = self.name(), "token expired");
    }

    /// Records that a rejected or invalidated token is no longer used.
    pub(crate) fn token_rejected(&self, generation: u64) {
        event!(INFO, generation, refresher = self.name(), "token rejected");
    }

    /// Records a response that rejected a token.
    pub(crate) fn rejection(&self, generation: Option<u64>, effect: RejectionEffect) {
        let ignored = match effect {
            RejectionEffect::TokenTooNew => Some("token too new"),
            RejectionEffect::RateLimited => Some("rate limited"),
            RejectionEffect::TriggeredLogin | RejectionEffect::AlreadyReplaced => None,
        };
        if let Some(reason) = ignored {
            event!(DEBUG, generation, reason, refresher = self.name(), "rejection ignored");
        }
        metric!(rejection(
            self.label(),
            match effect {
                RejectionEffect::TriggeredLogin => "login",
                RejectionEffect::AlreadyReplaced => "newer_token",
                RejectionEffect::TokenTooNew | RejectionEffect::RateLimited => "ignored",
            }
        ));
    }

    pub(crate) fn request_replayed(&self) {
        metric!(request_replayed(self.label()));
    }

    /// Records a request that was not sent.
    pub(crate) fn request_not_sent(&self, reason: &'static str) {
        metric!(request_not_sent(self.label(), reason));
    }

    /// Counts a call that waits for a token, until the returned guard is dropped.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            #[cfg(feature = "metrics")]
            gauge: crate::panic::catch(|| metrics::Waiting::new(self.label())),
        }
    }
}

/// A call that waits for a token.
pub(crate) struct Waiting {
    #[cfg(feature = "metrics")]
    gauge: Option<metrics::Waiting>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        crate::panic::catch(|| drop(self.gauge.take()));
    }
}
