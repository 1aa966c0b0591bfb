//! The events from the worker: it is ready for the next step, its login continues or has finished, its task has ended.

use std::time::Duration;

use super::{
    actions::{Actions, Garbage},
    active_worker::WorkerId,
    login::Attempt,
    refresh_state::RefreshState,
};
use crate::{
    clock::Timestamp,
    expiry::Expiry,
    login::{LoginError, LoginReason},
    refresh::schedule,
    token::AccessToken,
};

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
pub(crate) struct LoginReport {
    pub(crate) elapsed: Duration,
    pub(crate) outcome: LoginOutcome,
}

#[derive(Debug)]
pub(crate) enum LoginOutcome {
    Succeeded { generation: u64 },
    Failed { error: LoginError, failures: u32, retry_in: Duration },
    Discarded,
}

impl RefreshState {
    /// The worker is ready for its next step.
    ///
    /// ## Waiting => Logging in
    ///
    /// A login is due or requested, and the pause since the last one is over.
    ///
    /// ## Waiting => No worker
    ///
    /// The refresher is idle, and no call requests a login.
    ///
    /// ## Waiting => Waiting
    ///
    /// In all other cases. A probe may start.
    pub(crate) fn on_worker_ready(&mut self, id: WorkerId, now: Timestamp) -> Step {
        if !self.works(id) {
            return Step::End;
        }
        let has_token = self.token.current().is_some();
        let until_scheduled_login = self.until_scheduled_login(now);
        if has_token && self.usage.until_probe(until_scheduled_login, now.monotonic) == Some(Duration::ZERO) {
            self.usage.start_probe(now.monotonic);
        }
        let is_asked = self.login.forced || (self.login.wanted && !has_token);
        let cell_is_empty = !has_token || self.usage.withholds_token();
        let until_idle = self.usage.until_idle(now.monotonic).filter(|_| cell_is_empty && !is_asked);
        if until_idle == Some(Duration::ZERO)
            && (!has_token || until_scheduled_login.is_none_or(|until| until.is_zero()))
        {
            self.worker = None;
            return Step::End;
        }
        let until_scheduled_login =
            if is_asked { Some(self.login.until_allowed(now.monotonic)) } else { until_scheduled_login };
        if until_scheduled_login == Some(Duration::ZERO) {
            return Step::Login(self.start_login(now));
        }
        let until_probe =
            self.usage.until_probe(until_scheduled_login, now.monotonic).filter(|_| has_token && !is_asked);
        let until_idle = until_idle.filter(|_| !has_token || until_scheduled_login.is_none());
        let waits = [until_scheduled_login, until_probe, until_idle, self.until_token_changes(now)];
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

    /// The worker polls the state during its login, which ends in `until_timeout` at the latest.
    pub(crate) fn on_login_tick(&mut self, id: WorkerId, until_timeout: Duration, now: Timestamp) -> Step {
        if !self.works(id) {
            return Step::End;
        }
        Step::Wait(self.expect_worker([Some(until_timeout), self.until_token_changes(now), None, None], now))
    }

    /// The worker's login has finished. `random` has one number for the schedule and one for the backoff. Returns
    /// `None` if the worker has been replaced or the refresher shut down.
    ///
    /// ## Logging in => Waiting
    ///
    /// - A token that is new, or lives longer: it is the current token. The callers share it.
    /// - An error, the same token or an expired one: the current token stays. The callers share the error.
    /// - A login that was discarded: what callers requested remains requested, and the next login starts. So is one that
    ///   succeeded but returned too late, because its runtime stood still or its process was frozen; once in a row.
    pub(crate) fn on_login_finished(
        &mut self,
        id: WorkerId,
        result: Result<AccessToken, LoginError>,
        random: [f64; 2],
        now: Timestamp,
        actions: &mut Actions,
    ) -> Option<LoginReport> {
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
        // After `finish_login`, because `until_scheduled_login` reads the new state.
        self.usage.on_login_finished(self.until_scheduled_login(now));
        Some(LoginReport { elapsed, outcome })
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
        if !self.login.has_returned_late && is_late(&result, attempt.requested_at, now) {
            actions.garbage.push(match result {
                Ok(token) => Garbage::Token(token),
                Err(error) => Garbage::Error(error),
            });
            self.login.discard_late(now, schedule.min_interval());
            return LoginOutcome::Discarded;
        }
        let result = match result {
            Ok(token) if attempt.invalidated || (attempt.rejected && self.token.is_rejected(&token)) => {
                actions.garbage.push(Garbage::Token(token));
                return LoginOutcome::Discarded;
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

    /// The worker's task has ended, for any cause. Reads no clock.
    ///
    /// ## Any => No worker
    ///
    /// A login under way is discarded. The token stays in the state but leaves the cell, because no worker would
    /// withdraw it at expiry.
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

    /// Expects the worker to poll the state after the shortest of these waits. Returns that wait.
    fn expect_worker(&mut self, waits: [Option<Duration>; 4], now: Timestamp) -> Option<Duration> {
        let wait = waits.into_iter().flatten().min();
        if let Some(worker) = &mut self.worker {
            worker.due = wait.and_then(|wait| now.monotonic.checked_add(wait));
        }
        wait
    }
}

/// How late tokio's timer ends a login on a runtime that is driven.
const MAX_TIMER_DELAY: Duration = Duration::from_secs(1);

/// Returns whether a login that succeeded, or would have, returned after the life of its token or long after its limit.
fn is_late(result: &Result<AccessToken, LoginError>, requested_at: Timestamp, now: Timestamp) -> bool {
    match result {
        Ok(token) => match token.expiry() {
            Expiry::In(lifetime) => !lifetime.is_zero() && lifetime <= requested_at.elapsed_at(now),
            Expiry::At(expires) => requested_at.wall < expires && expires <= now.wall,
            Expiry::Never | Expiry::Unknown => false,
        },
        Err(error) => error.login_timeout().is_some_and(|limit| {
            // The timer follows the monotonic clock only.
            let waited = now.monotonic.saturating_duration_since(requested_at.monotonic);
            waited > limit.saturating_add(MAX_TIMER_DELAY)
        }),
    }
}
