//! [`RefreshState`]: everything known about one identity's token and login, and the next action.
//!
//! The state is pure. Events and times go in, actions come out. It reads no clock, draws no random number, spawns nothing,
//! sends nothing and runs no user code, so each event is one short critical section. [`Shared`](super::shared::Shared) locks
//! the state, reports the event, and performs the actions after it has released the lock.
//!
//! ```text
//!                       a call
//!        ┌───────────┐ ────────▶ ┌─────────┐  login allowed and due   ┌────────────┐
//!  start │ No worker │           │ Waiting │ ───────────────────────▶ │ Logging in │
//!        └───────────┘ ◀──────── └─────────┘ ◀─────────────────────── └────────────┘
//!              ▲        idle                    login finished              │
//!              └────────────────────────────────────────────────────────────┘
//!                  the worker's task ended; the token and the pauses are kept
//! ```
//!
//! Beside that, the token comes and goes: [`TokenState`] has its transitions. Everything else that is visible is derived
//! from the state, and stored nowhere: what is in the cell ([`cell`](RefreshState::cell)), the status, the gauge.

pub(crate) mod actions;
pub(crate) mod active_worker;
mod login;
mod token;
mod usage;

use std::{cmp, sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::{runtime, time::Instant};

use self::{
    actions::{Actions, Garbage},
    active_worker::{ActiveWorker, Runtime, WorkerId},
    login::{Attempt, LoginState},
    token::TokenState,
    usage::UsageTracker,
};
use super::{
    cached_token::CachedToken,
    rejection_limit::{RejectionBudget, RejectionLimit},
    schedule::{self, Schedule},
    status::{State, Status},
};
use crate::{
    clock::Timestamp,
    login::{LoginError, LoginReason, error::Kind},
    telemetry::{ExpiryGauge, RejectionEffect},
    token::AccessToken,
};

/// How many of its own workers a caller sees aborted before it gives up: its runtime is shutting down.
const MAX_ABORTED_WORKERS: u32 = 3;

/// The settings that the state needs.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) schedule: Schedule,
    pub(crate) min_rejection_age: Duration,
    pub(crate) rejection_limit: RejectionLimit,
    pub(crate) idle_after: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct RefreshState {
    policy: Policy,
    token: TokenState,
    login: LoginState,
    usage: UsageTracker,
    rejections: RejectionBudget,
    worker: Option<ActiveWorker>,
    last_worker: WorkerId,
    /// The last worker whose task ended before the state let it go.
    last_aborted: Option<WorkerId>,
    shut_down: bool,
    /// When the last event happened, for an event that must not read a clock.
    last_tick: Option<Timestamp>,
}

/// What a caller waits for, and what it has seen. Each look repeats its demand, so a worker that dies loses none.
#[derive(Debug)]
pub(crate) struct Ticket {
    wait_for: WaitFor,
    /// The number of finished logins at the first look.
    completed: Option<u64>,
    /// The worker that this caller started last.
    started: Option<WorkerId>,
    /// How many workers that this caller started have been aborted.
    aborted: u32,
    /// The caller has woken a worker on another runtime that was logging in.
    pinged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// Any usable token.
    AnyToken,
    /// The token of the next login to finish.
    NextLogin,
}

impl Ticket {
    pub(crate) fn new(wait_for: WaitFor) -> Self {
        Self { wait_for, completed: None, started: None, aborted: 0, pinged: false }
    }
}

/// Where a caller runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The caller's runtime.
    pub(crate) runtime: Option<runtime::Id>,
    /// The runtime on which a new worker would run.
    pub(crate) target: Option<Runtime>,
}

/// What a caller finds.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) outcome: Result<Found, LoginError>,
    /// The worker that the caller has to start.
    pub(crate) start: Option<WorkerId>,
}

#[derive(Debug)]
pub(crate) enum Found {
    Token(Arc<CachedToken>),
    /// Look again after the next change, or at this time.
    Wait {
        until: Option<Instant>,
    },
}

/// What the worker does next.
#[derive(Debug)]
pub(crate) enum Step {
    Login(LoginStart),
    /// Wait this long, or until it is woken.
    Wait(Option<Duration>),
    End,
}

#[derive(Debug)]
pub(crate) struct LoginStart {
    pub(crate) reason: LoginReason,
    pub(crate) attempt: u32,
    pub(crate) requested_at: Timestamp,
}

/// How a login has ended, for the telemetry.
#[derive(Debug)]
pub(crate) struct LoginFinished {
    pub(crate) elapsed: Duration,
    pub(crate) outcome: LoginOutcome,
}

#[derive(Debug)]
pub(crate) enum LoginOutcome {
    Succeeded { generation: u64 },
    Failed { error: LoginError, failures: u32, retry_in: Duration },
    Superseded,
}

impl RefreshState {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            usage: UsageTracker::new(policy.idle_after),
            policy,
            token: TokenState::default(),
            login: LoginState::default(),
            rejections: RejectionBudget::default(),
            worker: None,
            last_worker: WorkerId(0),
            last_aborted: None,
            shut_down: false,
            last_tick: None,
        }
    }

    /// Starts with a token that no login returned.
    pub(crate) fn set_initial_token(&mut self, token: AccessToken, now: Timestamp, random: f64) {
        self.token.set_initial(token, now, &self.policy.schedule, random);
    }

    /// Happens with every event, before it.
    pub(crate) fn on_tick(&mut self, now: Timestamp, actions: &mut Actions) {
        self.last_tick = Some(now);
        self.token.on_tick(now, actions);
    }

    // Events from callers.

    /// A call looks for a token that it did not find in the cell, or waits for the next login.
    ///
    /// ## Any => the same
    ///
    /// There is a usable token, or the pause after a failure lasts: the caller gets the token, or the error.
    ///
    /// ## No worker => Waiting
    ///
    /// The caller starts a worker on its own runtime. Also if the worker on another runtime is late.
    ///
    /// ## Waiting => Waiting
    ///
    /// The call needs a login: the worker is woken.
    pub(crate) fn on_look(
        &mut self,
        ticket: &mut Ticket,
        caller: Caller,
        now: Timestamp,
        actions: &mut Actions,
    ) -> Look {
        let mut start = None;
        let outcome = self.look(ticket, caller, now, actions, &mut start);
        Look { outcome, start }
    }

    fn look(
        &mut self,
        ticket: &mut Ticket,
        caller: Caller,
        now: Timestamp,
        actions: &mut Actions,
        start: &mut Option<WorkerId>,
    ) -> Result<Found, LoginError> {
        if self.shut_down {
            return Err(LoginError::new(Kind::ShutDown, None));
        }
        let completed = *ticket.completed.get_or_insert_with(|| {
            let refresh_is_due = self.until_refresh(now) == Some(Duration::ZERO);
            self.usage.record_use(now.monotonic, refresh_is_due);
            self.login.completed
        });
        let login_has_finished = self.login.completed != completed;
        let error = self.login.last_error().filter(|_| login_has_finished);
        if let Some(token) = self.token.current()
            && (ticket.wait_for == WaitFor::AnyToken || (login_has_finished && error.is_none()))
        {
            let token = token.clone();
            // Without a runtime there is no worker to refresh the token, but it is usable now.
            let _ = self.ensure_worker(ticket, caller, now, start);
            return Ok(Found::Token(token));
        }
        if let Some(error) = error.or(self.login.error_in_pause(now.monotonic)) {
            return Err(error.clone());
        }
        self.ensure_worker(ticket, caller, now, start)?;
        let demand = match ticket.wait_for {
            WaitFor::AnyToken => &mut self.login.wanted,
            WaitFor::NextLogin => &mut self.login.forced,
        };
        if !*demand {
            *demand = true;
            self.wake_worker(now, actions);
        }
        Ok(Found::Wait { until: self.until_late(ticket, caller, now, actions) })
    }

    fn ensure_worker(
        &mut self,
        ticket: &mut Ticket,
        caller: Caller,
        now: Timestamp,
        start: &mut Option<WorkerId>,
    ) -> Result<(), LoginError> {
        if let Some(worker) = &self.worker {
            let runs_elsewhere = caller.target.is_some_and(|target| target.id != worker.runtime.id);
            let is_replaceable = self.login.attempt.is_none() && runs_elsewhere && worker.is_late(now.monotonic);
            if !is_replaceable {
                return Ok(());
            }
        }
        let Some(runtime) = caller.target else { return Err(LoginError::new(Kind::NoRuntime, None)) };
        if ticket.started.is_some() && ticket.started == self.last_aborted {
            ticket.aborted += 1;
        }
        if ticket.aborted >= MAX_ABORTED_WORKERS {
            return Err(LoginError::new(Kind::WorkerEnded, None));
        }
        self.last_worker = WorkerId(self.last_worker.0 + 1);
        let id = self.last_worker;
        self.worker = Some(ActiveWorker { id, runtime, due: Some(now.monotonic) });
        ticket.started = Some(id);
        *start = Some(id);
        Ok(())
    }

    /// Returns when the caller has to look again because the worker may be late by then. A worker on another runtime that is
    /// logging in is woken once, to see whether its runtime is driven.
    fn until_late(
        &mut self,
        ticket: &mut Ticket,
        caller: Caller,
        now: Timestamp,
        actions: &mut Actions,
    ) -> Option<Instant> {
        let worker = self.worker.as_mut().filter(|worker| caller.runtime != Some(worker.runtime.id))?;
        if self.login.attempt.is_some() {
            if !ticket.pinged {
                ticket.pinged = true;
                worker.expect_now(now.monotonic);
                actions.wake_worker = true;
            }
            return None;
        }
        caller.target.filter(|target| target.id != worker.runtime.id)?;
        worker.late_at()
    }

    /// Returns whether the worker is late on a runtime other than the caller's.
    pub(crate) fn is_undriven(&self, caller: Option<runtime::Id>, now: Timestamp) -> bool {
        self.worker.as_ref().is_some_and(|worker| caller != Some(worker.runtime.id) && worker.is_late(now.monotonic))
    }

    /// A token source asks for a refresh, and does not wait for it. Without a worker the demand is kept for the next one.
    pub(crate) fn on_refresh_request(&mut self, now: Timestamp, actions: &mut Actions) {
        if !self.shut_down {
            self.login.forced = true;
            self.wake_worker(now, actions);
        }
    }

    /// A server has rejected the token of this generation, of which the lower 32 bits are known.
    ///
    /// ## Any => the same, without a token
    ///
    /// The rejection counts. A worker logs in; without one, no login starts until a call comes. A login that is under way
    /// counts if it returns another token.
    pub(crate) fn on_rejection(
        &mut self,
        generation: u32,
        challenge: Option<HeaderValue>,
        now: Timestamp,
        actions: &mut Actions,
    ) -> (Option<u64>, RejectionEffect) {
        let Some(token) = self.token.current() else { return (None, RejectionEffect::AlreadyReplaced) };
        let current = Some(token.generation);
        if token.generation as u32 != generation {
            return (current, RejectionEffect::AlreadyReplaced);
        }
        if token.is_too_new(self.policy.min_rejection_age, now) {
            return (current, RejectionEffect::TokenTooNew);
        }
        if !self.rejections.withdraw(self.policy.rejection_limit, now.monotonic) {
            return (current, RejectionEffect::RateLimited);
        }
        self.token.reject(challenge, actions);
        if let Some(attempt) = &mut self.login.attempt {
            attempt.rejected = true;
        }
        self.wake_worker(now, actions);
        (current, RejectionEffect::TriggeredLogin)
    }

    /// The application invalidates the token.
    ///
    /// ## Any => the same, without a token
    ///
    /// As for a rejection, but the result of a login that is under way is discarded.
    pub(crate) fn on_invalidate(&mut self, now: Timestamp, actions: &mut Actions) {
        if self.token.current().is_none() {
            return;
        }
        self.token.reject(None, actions);
        if let Some(attempt) = &mut self.login.attempt {
            attempt.superseded = true;
        }
        self.wake_worker(now, actions);
    }

    /// ## Any => Shut down
    pub(crate) fn on_shutdown(&mut self, actions: &mut Actions) {
        self.shut_down = true;
        self.token.clear(actions);
        actions.wake_worker = true;
    }

    fn wake_worker(&mut self, now: Timestamp, actions: &mut Actions) {
        actions.wake_worker = true;
        if let Some(worker) = self.worker.as_mut().filter(|_| self.login.attempt.is_none()) {
            worker.expect_now(now.monotonic);
        }
    }

    // Events from the worker.

    /// The worker has nothing to do, and asks.
    ///
    /// ## Waiting => Logging in
    ///
    /// A login is due or asked for, and the pause since the last one is over.
    ///
    /// ## Waiting => No worker
    ///
    /// The refresher is idle, and no call asks for a login.
    ///
    /// ## Waiting => Waiting
    ///
    /// Otherwise. The probe of use may start.
    pub(crate) fn on_worker_ready(&mut self, id: WorkerId, now: Timestamp) -> Step {
        if !self.works(id) {
            return Step::End;
        }
        let has_token = self.token.current().is_some();
        let until_login = self.until_login(now);
        if has_token && self.usage.until_probe(until_login) == Some(Duration::ZERO) {
            self.usage.start_probe(now.monotonic);
        }
        let is_asked = self.login.forced || (self.login.wanted && !has_token);
        let cell_is_empty = !has_token || self.usage.withholds_token();
        let until_idle = self.usage.until_idle(now.monotonic).filter(|_| cell_is_empty && !is_asked);
        if until_idle == Some(Duration::ZERO) && (!has_token || until_login == Some(Duration::ZERO)) {
            self.worker = None;
            return Step::End;
        }
        let until_login = if is_asked { Some(self.login.until_allowed(now.monotonic)) } else { until_login };
        if until_login == Some(Duration::ZERO) {
            return Step::Login(self.start_login(now));
        }
        let until_probe = self.usage.until_probe(until_login).filter(|_| has_token && !is_asked);
        let until_idle = until_idle.filter(|_| !has_token);
        let waits = [until_login, until_probe, until_idle, self.until_token_changes(now)];
        Step::Wait(self.expect_worker(waits, now))
    }

    fn start_login(&mut self, now: Timestamp) -> LoginStart {
        let reason = match (self.token.rejected(), self.token.current()) {
            (Some(rejected), None) => LoginReason::Rejected { challenge: rejected.challenge.clone() },
            _ if self.login.forced => LoginReason::Forced,
            (_, None) if self.token.generation() == 0 => LoginReason::First,
            _ => LoginReason::Expiring,
        };
        self.login.start(now, self.policy.schedule.min_interval());
        LoginStart { reason, attempt: self.login.failures.saturating_add(1), requested_at: now }
    }

    /// The worker looks at the state while its login is under way, which ends in `until_timeout` at the latest.
    pub(crate) fn on_login_tick(&mut self, id: WorkerId, until_timeout: Duration, now: Timestamp) -> Step {
        if !self.works(id) {
            return Step::End;
        }
        Step::Wait(self.expect_worker([Some(until_timeout), self.until_token_changes(now), None, None], now))
    }

    /// The worker's login has finished. `random` has one number for the schedule and one for the backoff. Returns `None` if
    /// the worker has been replaced or the refresher shut down.
    ///
    /// ## Logging in => Waiting
    ///
    /// - A token that is new, or lives longer: it is the current token. The callers share it.
    /// - An error, the same token or an expired one: the current token stays. The callers share the error.
    /// - A login that was superseded: what callers have asked for is still asked for, and the next login starts.
    pub(crate) fn on_login_finished(
        &mut self,
        id: WorkerId,
        result: Result<AccessToken, LoginError>,
        random: [f64; 2],
        now: Timestamp,
        actions: &mut Actions,
    ) -> Option<LoginFinished> {
        let attempt = if self.works(id) { self.login.attempt.take() } else { None };
        let Some(attempt) = attempt else {
            actions.garbage.push(match result {
                Ok(token) => Garbage::Token(token),
                Err(error) => Garbage::Error(error),
            });
            return None;
        };
        let elapsed = now.monotonic.saturating_duration_since(attempt.requested_at.monotonic);
        let outcome = self.finish_login(&attempt, result, random, now, actions);
        self.usage.on_login_finished(self.until_login(now));
        Some(LoginFinished { elapsed, outcome })
    }

    fn finish_login(
        &mut self,
        attempt: &Attempt,
        result: Result<AccessToken, LoginError>,
        [schedule_random, backoff_random]: [f64; 2],
        now: Timestamp,
        actions: &mut Actions,
    ) -> LoginOutcome {
        let schedule = &self.policy.schedule;
        let result = match result {
            Ok(token) if attempt.superseded || (attempt.rejected && self.token.is_rejected(&token)) => {
                actions.garbage.push(Garbage::Token(token));
                return LoginOutcome::Superseded;
            }
            Ok(token) => self
                .token
                .accept(token, attempt.requested_at, now, schedule, schedule_random, actions)
                .map_err(|kind| LoginError::new(kind, None)),
            Err(error) => Err(error),
        };
        let Err(error) = result else {
            self.login.succeed(now, schedule.min_interval(), actions);
            return LoginOutcome::Succeeded { generation: self.token.generation() };
        };
        self.login.failures = self.login.failures.saturating_add(1);
        let retry_in = schedule::backoff(schedule, self.login.failures, error.retry_after(), backoff_random);
        self.login.fail(error.clone(), now, retry_in, actions);
        LoginOutcome::Failed { error, failures: self.login.failures, retry_in }
    }

    /// The worker's task has ended, whatever the cause. Reads no clock.
    ///
    /// ## Any => No worker
    ///
    /// A login under way is forgotten. The token stays here, and leaves the cell, because no worker withdraws it in time.
    pub(crate) fn on_worker_ended(&mut self, id: WorkerId) {
        if self.worker.as_ref().is_some_and(|worker| worker.id == id) {
            self.worker = None;
            self.login.attempt = None;
            self.last_aborted = Some(id);
        }
    }

    fn works(&self, id: WorkerId) -> bool {
        !self.shut_down && self.worker.as_ref().is_some_and(|worker| worker.id == id)
    }

    /// Expects the worker to look at the state after the shortest of these waits. Returns that wait.
    fn expect_worker(&mut self, waits: [Option<Duration>; 4], now: Timestamp) -> Option<Duration> {
        let wait = waits.into_iter().flatten().min();
        if let Some(worker) = &mut self.worker {
            worker.due = wait.and_then(|wait| now.monotonic.checked_add(wait));
        }
        wait
    }

    // Times.

    fn until_refresh(&self, now: Timestamp) -> Option<Duration> {
        self.token.current()?.until_refresh(now)
    }

    /// Returns the time left until a login starts that no call asks for; `None` if none does.
    fn until_login(&self, now: Timestamp) -> Option<Duration> {
        if self.login.is_suspended() {
            return None;
        }
        let until_due = match self.token.current() {
            Some(token) => token.until_refresh(now)?,
            None => Duration::ZERO,
        };
        Some(cmp::max(until_due, self.login.until_allowed(now.monotonic)))
    }

    /// Returns the time left until the token expires, or becomes unusable if it has expired.
    fn until_token_changes(&self, now: Timestamp) -> Option<Duration> {
        let token = self.token.current()?;
        token.until_expired(now).filter(|left| !left.is_zero()).or_else(|| token.until_unusable(now))
    }

    // What is derived.

    /// Returns what the cell contains, and whether its expiry must be checked at use.
    pub(crate) fn cell(&self) -> Option<(&Arc<CachedToken>, bool)> {
        let worker = self.worker.as_ref()?;
        let token = self.token.current().filter(|_| !self.usage.withholds_token())?;
        Some((token, worker.runtime.can_stand_still))
    }

    /// Returns the token, whether or not it is in the cell.
    pub(crate) fn usable_token(&self) -> Option<&Arc<CachedToken>> {
        self.token.current()
    }

    pub(crate) fn last_error(&self) -> Option<&LoginError> {
        self.login.last_error()
    }

    /// Returns whether the last login failed and a retry can help.
    pub(crate) fn is_failing(&self) -> bool {
        self.last_error().is_some_and(|error| !error.is_permanent())
    }

    pub(crate) fn status(&self) -> Status {
        let newest = self.token.newest();
        Status {
            state: self.state(),
            issued_at: newest.map(|(issued_at, _)| issued_at),
            expires: newest.map(|(_, expires)| expires),
            generation: self.token.generation(),
            consecutive_failures: self.login.failures,
            last_error: self.login.last_error().cloned(),
        }
    }

    fn state(&self) -> State {
        if self.shut_down {
            return State::ShutDown;
        }
        if self.worker.is_none() {
            return State::Idle;
        }
        let is_expired = |token: &CachedToken| self.last_tick.is_some_and(|now| token.is_expired(now));
        match (self.token.current(), &self.login.attempt) {
            (Some(_), Some(_)) => State::Refreshing,
            (Some(token), None) if is_expired(token) => State::Stale,
            (Some(_), None) => State::Ready,
            (None, None) if self.login.failures > 0 => State::Failed,
            (None, _) => State::LoggingIn,
        }
    }

    pub(crate) fn view(&self) -> View {
        View {
            state: self.state(),
            has_token: self.token.current().is_some(),
            generation: self.token.generation(),
            completed: self.login.completed,
            worker: self.worker.as_ref().map(|worker| worker.id),
            gauge: self.gauge(),
        }
    }

    fn gauge(&self) -> ExpiryGauge {
        if self.worker.is_none() || self.shut_down {
            return ExpiryGauge::Unset;
        }
        match self.token.current() {
            None => ExpiryGauge::NoToken,
            Some(token) => token.expires_at().map_or(ExpiryGauge::NoExpiry, ExpiryGauge::At),
        }
    }
}

/// Everything that subscribers, waiters and the gauge can see. If an event changes it, they are notified.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) has_token: bool,
    pub(crate) generation: u64,
    pub(crate) completed: u64,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) gauge: ExpiryGauge,
}
