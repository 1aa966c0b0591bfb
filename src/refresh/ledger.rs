//! All that a worker knows, and what follows from it: what to do next, and what the outside is told.

use std::{fmt, mem, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    holding::Holding,
    idle::Idle,
    lease::{Lease, Moment},
    schedule::{self, Schedule},
    shared::{Demand, Shared},
    status::{State, Status},
};
use crate::{AccessToken, LoginError, LoginReason, events::LoginSpan};

/// It outlives the runtime of any one worker.
pub(crate) struct Ledger {
    random: Box<dyn FnMut() -> u64 + Send>,
    holding: Holding,
    idle: Idle,
    /// Logins that have failed since the last good one.
    failures: u32,
    /// No login starts before.
    gate: Option<Instant>,
    /// The last login was refused for good: the next one waits until there is no token and somebody wants one.
    on_demand: bool,
    /// How much had been asked for when the last login ended.
    served_wants: u64,
    served_forces: u64,
    /// Whether it has been told that nobody fetches a token.
    told_idle: bool,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Login(LoginReason),
    /// Sleep so long, or until something is asked for.
    Sleep(Option<Duration>),
}

impl Ledger {
    pub(crate) fn new(random: Box<dyn FnMut() -> u64 + Send>, idle: Idle) -> Self {
        Self {
            random,
            holding: Holding::default(),
            idle,
            failures: 0,
            gate: None,
            on_demand: false,
            served_wants: 0,
            served_forces: 0,
            told_idle: false,
        }
    }

    /// Starts with a token that was not logged in for.
    pub(crate) fn seed(&mut self, token: AccessToken, now: Moment, schedule: &Schedule) {
        let draw = self.draw();
        self.holding = Holding::seeded(Lease::new(token, 1, now, schedule, draw));
    }

    /// The token that may be used although no worker watches it yet.
    pub(crate) fn usable(&self, now: Moment, demand: &Demand) -> Option<&Arc<Lease>> {
        self.lease().filter(|lease| !lease.is_unusable(now) && lease.generation > demand.rejected)
    }

    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        self.holding.lease.as_ref()
    }

    /// What to do at `now`.
    pub(crate) fn next(&self, now: Moment, demand: &Demand) -> Step {
        let heartbeat = self.heartbeat(now);
        let pause = self.gate.map_or(Duration::ZERO, |gate| gate.saturating_duration_since(now.monotonic));
        match self.reason(now, demand) {
            Some(reason) if pause.is_zero() => Step::Login(reason),
            Some(_) => Step::Sleep(heartbeat.into_iter().chain([pause]).min()),
            None => {
                let due = self.due(now).filter(|due| !due.is_zero());
                let park = self.idle.until_park(self.due(now), now);
                Step::Sleep(heartbeat.into_iter().chain(due).chain(park).min())
            }
        }
    }

    /// How long until the token should be refreshed.
    fn due(&self, now: Moment) -> Option<Duration> {
        self.lease().and_then(|lease| lease.until_refresh(now))
    }

    fn is_due(&self, now: Moment) -> bool {
        self.due(now) == Some(Duration::ZERO)
    }

    /// Why a token is wanted now, if it is.
    fn reason(&self, now: Moment, demand: &Demand) -> Option<LoginReason> {
        let has_token = self.holding.lease.is_some();
        if demand.forces != self.served_forces {
            return Some(LoginReason::Forced);
        }
        let idle = self.idle.is_idle(has_token, now);
        if has_token {
            // A refusal for good is not repeated while there is a token: accounts are locked for less.
            return (self.is_due(now) && !idle && !self.on_demand).then_some(LoginReason::Expiring);
        }
        if (self.on_demand || idle) && demand.wants == self.served_wants {
            return None;
        }
        Some(match (&self.holding.rejected, self.holding.generation) {
            (Some(rejected), _) => LoginReason::Rejected { challenge: rejected.challenge.clone() },
            (None, 0) => LoginReason::First,
            (None, _) => LoginReason::Expiring,
        })
    }

    /// The attempt's number, were a login to start now.
    pub(crate) fn attempt(&self) -> u32 {
        self.failures.saturating_add(1)
    }

    /// A login starts. Should it be dropped with its runtime, the next one comes no sooner than after any other.
    pub(crate) fn begin(&mut self, schedule: &Schedule, now: Moment) {
        self.gate = now.monotonic.checked_add(schedule.backoff.0);
    }

    /// How long the clocks may go unread.
    pub(crate) fn heartbeat(&self, now: Moment) -> Option<Duration> {
        self.holding.heartbeat(now)
    }

    /// A number in `[0, 1)`.
    fn draw(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        ((self.random)() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Takes in how a login ended, and says when the next may start.
    pub(crate) fn conclude(
        &mut self,
        shared: &Shared,
        outcome: Result<AccessToken, LoginError>,
        sent: Moment,
        span: &mut LoginSpan,
    ) {
        let now = shared.now();
        let schedule = &shared.settings.schedule;
        let outcome = outcome.and_then(|token| {
            let draw = self.draw();
            self.holding.take(token, sent, now, schedule, draw)
        });
        if let Some(lease) = &self.holding.lease {
            shared.publish(lease);
            shared.settings.events.token_in_use(lease.end());
            self.idle.published();
        }
        {
            let demand = shared.demand.borrow();
            (self.served_wants, self.served_forces) = (demand.wants, demand.forces);
        }
        let took = now.monotonic.saturating_duration_since(sent.monotonic);
        let pause = match &outcome {
            Ok(()) => {
                span.succeeded(self.holding.generation, took);
                self.failures = 0;
                schedule.backoff.0
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let draw = self.draw();
                let pause = schedule::backoff(schedule, self.failures, error.retry_after(), draw);
                span.failed(error, self.failures, took, pause);
                pause
            }
        };
        self.gate = now.monotonic.checked_add(pause);
        let mut error = outcome.err();
        self.on_demand = error.as_ref().is_some_and(LoginError::is_permanent);
        shared.status.send_modify(|status| {
            status.ended += 1;
            status.failures = self.failures;
            status.retry_at = self.gate.filter(|_| error.is_some());
            // The old error goes out, lest somebody's `Drop` run under this lock.
            mem::swap(&mut status.last_error, &mut error);
            self.describe(status, now, false);
        });
    }

    fn describe(&self, status: &mut Status, now: Moment, logging_in: bool) {
        if status.state == State::ShutDown {
            return;
        }
        status.state = match (&self.holding.lease, logging_in) {
            (Some(_), true) => State::Refreshing,
            (Some(lease), false) if lease.is_expired(now) => State::Stale,
            (Some(_), false) => State::Live,
            (None, false) if self.failures > 0 => State::Failing,
            (None, false) if self.idle.is_idle(false, now) => State::Idle,
            (None, _) => State::LoggingIn,
        };
        if let Some(lease) = &self.holding.lease {
            status.issued = Some(lease.sent.wall);
            status.expiry = Some(lease.token.expiry());
            status.generation = lease.generation;
        }
    }

    /// Lets go of a token that is of no more use, and tells the outside how things stand.
    pub(crate) fn tidy(&mut self, shared: &Shared, demand: &Demand, logging_in: bool) -> Moment {
        let now = shared.now();
        self.idle.notice(demand.wants, self.is_due(now), now);
        if let Some(generation) = self.holding.let_go(now, demand, &shared.settings.events) {
            shared.withdraw(generation);
        }
        let idle = self.holding.lease.is_none() && self.idle.is_idle(false, now);
        if idle && !self.told_idle {
            shared.settings.events.idle_without_token();
        }
        self.told_idle = idle;
        if self.idle.until_park(self.due(now), now) == Some(Duration::ZERO) {
            shared.park();
            self.idle.parked();
        }
        shared.status.send_if_modified(|status| {
            let before = (status.state, status.issued);
            self.describe(status, now, logging_in);
            before != (status.state, status.issued)
        });
        now
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("holding", &self.holding).finish_non_exhaustive()
    }
}
