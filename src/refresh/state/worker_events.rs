//! The events from the worker: it is ready for the next step, its login continues or has finished, its task has ended.

use std::time::Duration;

use super::{
    actions::Actions,
    active_worker::WorkerId,
    login::{Attempt, TICK},
    refresh_state::RefreshState,
};
use crate::{
    clock::Timestamp,
    login::{LoginError, LoginReason},
    refresh::{
        cached_token::expired_during_login,
        login_line::{Arrival, LINE_TICK},
        schedule,
    },
    token::AccessToken,
};

/// What the worker does next.
#[derive(Debug)]
pub(crate) enum Step {
    Login(LoginStart),
    /// A login is due. Poll for a permit now, after this time, and when woken.
    AwaitPermit {
        limit: Duration,
        arrival: Arrival,
        last_login: Option<Duration>,
    },
    /// Wait this long, or until it is woken.
    Wait(Option<Duration>),
    End,
}

/// Whether the worker can log in now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Permit {
    /// The worker has a permit, or needs none.
    Granted,
    /// The worker must await a permit. If its refresher is not in line yet, it arrives now.
    Awaited { next_arrival: Arrival },
}

#[derive(Debug)]
pub(crate) struct LoginStart {
    pub(crate) reason: LoginReason,
    pub(crate) attempt: u32,
    pub(crate) requested_at: Timestamp,
}

/// How a login has ended, for the telemetry.
#[derive(Debug)]
pub(crate) struct LoginSummary {
    pub(crate) elapsed: Duration,
    pub(crate) outcome: LoginOutcome,
}

#[derive(Debug)]
pub(crate) enum LoginOutcome {
    Succeeded { generation: u64 },
    Failed { error: LoginError, failures: u32, retry_in: Duration },
    Discarded { error: Option<LoginError> },
}

impl RefreshState {
    /// The worker is ready for its next step. It has a permit to log in, or must await one.
    ///
    /// ## Waiting => Logging in
    ///
    /// A login is due or requested, the pause since the last one is over, and the worker has a permit.
    ///
    /// ## Waiting => No worker
    ///
    /// The refresher is idle, and no call requests a login. Or it is retired, and a login is due that no call requests.
    ///
    /// ## Waiting => Waiting
    ///
    /// In all other cases. A probe may start.
    pub(crate) fn on_worker_ready(&mut self, id: WorkerId, now: Timestamp, permit: Permit) -> Step {
        if !self.works(id) {
            return Step::End;
        }
        // It stays only if the worker awaits a permit.
        let arrival = self.login.arrival.take();
        let has_token = self.token.current().is_some();
        let login_needs_call = self.login_needs_call(now);
        let can_probe = has_token && self.can_probe();
        let until_scheduled_login = self.until_scheduled_login(now);
        if can_probe
            && self.usage.until_probe(until_scheduled_login, now.monotonic) == Some(Duration::ZERO)
        {
            self.usage.start_probe(now.monotonic);
        }
        let login_requested =
            self.login.forced || (self.login.wanted && (!has_token || login_needs_call));
        let cell_is_empty = !has_token || login_needs_call || self.usage.withholds_token();
        let until_idle =
            self.usage.until_idle(now.monotonic).filter(|_| cell_is_empty && !login_requested);
        if until_idle == Some(Duration::ZERO)
            && (!has_token || until_scheduled_login.is_none_or(|until| until.is_zero()))
        {
            self.worker = None;
            return Step::End;
        }
        let until_scheduled_login = if login_requested {
            Some(self.login.until_allowed(now.monotonic))
        } else {
            until_scheduled_login
        };
        let login_is_due = until_scheduled_login == Some(Duration::ZERO);
        if login_is_due && self.is_retired && !login_requested {
            self.worker = None;
            return Step::End;
        }
        let permit = match permit {
            Permit::Granted if login_is_due => return Step::Login(self.start_login(now)),
            Permit::Awaited { next_arrival } if login_is_due => {
                Some(*self.login.arrival.insert(arrival.unwrap_or(next_arrival)))
            }
            _ => None,
        };
        let until_probe = self
            .usage
            .until_probe(until_scheduled_login, now.monotonic)
            .filter(|_| can_probe && !login_requested);
        let until_idle = until_idle.filter(|_| !has_token || until_scheduled_login.is_none());
        let until_stale_withheld = self.until_stale_withheld(now).filter(|until| !until.is_zero());
        let until_next_poll = if login_is_due { Some(LINE_TICK) } else { until_scheduled_login };
        let waits = [
            until_next_poll,
            until_probe,
            until_idle,
            until_stale_withheld,
            self.until_token_changes(now),
        ];
        let limit = self.expect_worker(waits, now);
        match permit {
            Some(arrival) => Step::AwaitPermit {
                limit: limit.unwrap_or(LINE_TICK),
                arrival,
                last_login: self.login.last_duration,
            },
            None => Step::Wait(limit),
        }
    }

    fn start_login(&mut self, now: Timestamp) -> LoginStart {
        let reason = match (self.token.rejected(), self.token.current()) {
            (Some(rejected), None) => {
                LoginReason::Rejected { challenge: rejected.challenge.clone() }
            }
            _ if self.login.forced => LoginReason::Forced,
            (_, None) if self.token.generation() == 0 => LoginReason::First,
            _ => LoginReason::Expiring,
        };
        self.login.start(now, self.policy.schedule.min_interval());
        LoginStart { reason, attempt: self.login.failures.saturating_add(1), requested_at: now }
    }

    /// The worker polls the state during its login, which ends in `until_timeout` at the latest. Since the last poll, the
    /// login itself ran for `login_poll_time`.
    pub(crate) fn on_login_tick(
        &mut self,
        id: WorkerId,
        until_timeout: Duration,
        login_poll_time: Duration,
        now: Timestamp,
    ) -> Step {
        if !self.works(id) {
            return Step::End;
        }
        if let Some(attempt) = &mut self.login.attempt {
            attempt.on_tick(login_poll_time, now);
        }
        let waits = [Some(until_timeout.min(TICK)), self.until_token_changes(now)];
        Step::Wait(self.expect_worker(waits, now))
    }

    /// The worker's login has finished. `random` has one number for the schedule and one for the backoff. Returns
    /// `None` if the worker has been replaced or the refresher shut down.
    ///
    /// ## Logging in => Waiting
    ///
    /// - A token that is new, or lives longer: it is the current token. The callers share it.
    /// - An error, the same token or an expired one: the current token stays. The callers share the error.
    /// - A login that was discarded: what callers requested remains requested, and the next login starts. So is a login
    ///   whose runtime stood still, if it returned an expired token or a transient error without `Retry-After`. This
    ///   happens at most once between two results that count.
    pub(crate) fn on_login_finished(
        &mut self,
        id: WorkerId,
        result: Result<AccessToken, LoginError>,
        login_poll_time: Duration,
        random: [f64; 2],
        now: Timestamp,
        actions: &mut Actions,
    ) -> Option<LoginSummary> {
        let attempt = if self.works(id) { self.login.attempt.take() } else { None };
        let Some(mut attempt) = attempt else {
            actions.errors.extend(result.err());
            return None;
        };
        attempt.on_tick(login_poll_time, now);
        let elapsed = now.monotonic.saturating_duration_since(attempt.requested_at.monotonic);
        // The time in which a runtime stood still is not that of the issuer.
        if !attempt.stood_still {
            self.login.last_duration = Some(elapsed);
        }
        let outcome = self.finish_login(&attempt, result, random, now, actions);
        // After `finish_login`, because `until_scheduled_login` reads the new state.
        if self.can_probe() {
            self.usage.on_login_finished(self.until_scheduled_login(now));
        } else {
            self.usage.cancel_probe();
        }
        self.expect_worker([Some(Duration::ZERO)], now);
        Some(LoginSummary { elapsed, outcome })
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
        let is_late = attempt.stood_still
            && match &result {
                Ok(token) => expired_during_login(token, attempt.requested_at, now, schedule),
                // An issuer that says when to retry has responded.
                Err(error) => !error.is_permanent() && error.retry_after().is_none(),
            };
        if is_late && !self.login.has_returned_late {
            let error = result.err();
            self.login.discard_late(error.clone(), actions);
            return LoginOutcome::Discarded { error };
        }
        let result = match result {
            Ok(token)
                if attempt.invalidated || (attempt.rejected && self.token.was_rejected(&token)) =>
            {
                return LoginOutcome::Discarded { error: None };
            }
            Ok(token) => self
                .token
                .accept(token, attempt.requested_at, now, schedule, schedule_random)
                .map_err(|kind| LoginError::new(kind, None)),
            Err(error) => Err(error),
        };
        let Err(error) = result else {
            self.login.succeed(now, schedule.min_interval(), actions);
            return LoginOutcome::Succeeded { generation: self.token.generation() };
        };
        self.login.failures = self.login.failures.saturating_add(1);
        let retry_in =
            schedule::backoff(schedule, self.login.failures, error.retry_after(), backoff_random);
        let token_life =
            self.token.current().and_then(|token| token.until_expired(now)).unwrap_or_default();
        self.login.fail(error.clone(), now, retry_in, token_life, actions);
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

    /// Returns whether the token is ever withheld to see whether it is used. The next token of a source that reports it
    /// costs no login.
    fn can_probe(&self) -> bool {
        self.token.current().is_none_or(|token| !token.token.source_notifies())
    }

    fn works(&self, id: WorkerId) -> bool {
        !self.shut_down && self.worker.as_ref().is_some_and(|worker| worker.id == id)
    }

    /// Expects the worker to poll the state after the shortest of these waits. Returns that wait.
    fn expect_worker(
        &mut self,
        waits: impl IntoIterator<Item = Option<Duration>>,
        now: Timestamp,
    ) -> Option<Duration> {
        let wait = waits.into_iter().flatten().min();
        if let Some(worker) = &mut self.worker {
            worker.due = wait.and_then(|wait| now.monotonic.checked_add(wait));
        }
        wait
    }
}
