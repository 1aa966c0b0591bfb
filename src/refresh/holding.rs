//! The token that the worker holds, and how a new one takes its place.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{
    lease::{Lease, Moment},
    schedule::Schedule,
    shared::Demand,
};
use crate::{AccessToken, Expiry, LoginError, events::Events, login::Kind};

/// A machine may sleep, or its clock be set, between any two looks at the clocks.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) lease: Option<Arc<Lease>>,
    /// How many different tokens there have been.
    pub(crate) generation: u64,
    /// The token that was rejected, until another has come.
    pub(crate) rejected: Option<Rejected>,
    /// The generation whose end has been told.
    told_expired: u64,
}

/// What is known of a token that was rejected.
#[derive(Debug)]
pub(crate) struct Rejected {
    value: HeaderValue,
    /// It has been brought again since.
    came_again: bool,
    /// What the server said (`WWW-Authenticate`).
    pub(crate) challenge: Option<HeaderValue>,
}

impl Holding {
    /// Starts with a token that was not logged in for.
    pub(crate) fn seeded(lease: Lease) -> Self {
        Self { generation: lease.generation, lease: Some(Arc::new(lease)), ..Self::default() }
    }

    /// Lets go of a token that has been rejected or may be used no more; returns its generation.
    pub(crate) fn let_go(&mut self, now: Moment, demand: &Demand, events: &Events) -> Option<u64> {
        let lease = self.lease.as_ref()?;
        let generation = lease.generation;
        if lease.is_expired(now) && self.told_expired != generation {
            self.told_expired = generation;
            events.expired(generation);
        }
        if generation <= demand.rejected {
            events.rejected(generation);
            let value = lease.token.header_value().clone();
            self.rejected = Some(Rejected { value, came_again: false, challenge: demand.challenge.clone() });
        } else if !lease.is_unusable(now) {
            return None;
        }
        self.lease = None;
        Some(generation)
    }

    /// Takes what a login brought. It may have to be published even where the login made no progress, which is the
    /// error.
    pub(crate) fn take(
        &mut self,
        token: AccessToken,
        sent: Moment,
        now: Moment,
        schedule: &Schedule,
        draw: f64,
    ) -> Result<(), LoginError> {
        let same_token = || LoginError::new(Kind::SameToken, None);
        // A rejected token may come again once by a race. An issuer that insists has no other, and so has one whose tokens
        // never end, or that would have told: then it is better than none, and nothing has failed.
        let no_other = token.is_watched() || token.expiry() == Expiry::Never;
        let mut insists = false;
        if let Some(rejected) = self.rejected.as_mut().filter(|rejected| rejected.value == token.header_value()) {
            insists = std::mem::replace(&mut rejected.came_again, true) || no_other;
            if !insists {
                return Err(same_token());
            }
        }
        let held = self.lease.take_if(|held| held.token.header_value() == token.header_value());
        let generation = if held.is_some() { self.generation } else { self.generation + 1 };
        let lease = Lease::new(token, generation, sent, schedule, draw).received_at(now);
        if lease.is_expired(now) {
            self.lease = self.lease.take().or(held);
            return Err(LoginError::new(Kind::ExpiredOnArrival, None));
        }
        // The issuer may know better than before how long the same token has left; but it is no new one.
        let progress = insists || lease.token.is_watched() || held.is_none_or(|held| lease.outlives(&held, now));
        self.lease = Some(Arc::new(lease));
        self.generation = generation;
        self.rejected = None;
        if progress { Ok(()) } else { Err(same_token()) }
    }

    /// How long the clocks may go unread: until the token ends, at most a heartbeat; `None` if it has no end.
    pub(crate) fn heartbeat(&self, now: Moment) -> Option<Duration> {
        let lease = self.lease.as_ref()?;
        let next_end = lease.until_expired(now).filter(|left| !left.is_zero()).or_else(|| lease.until_unusable(now))?;
        Some(next_end.min(HEARTBEAT))
    }
}
