//! The events from callers: looks, rejections, requests for a refresh, the shutdown.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::{runtime, time::Instant};

use super::{
    actions::Actions,
    active_worker::{ActiveWorker, Runtime, WorkerId},
    refresh_state::RefreshState,
};
use crate::{
    clock::Timestamp,
    login::{LoginError, error::Kind},
    refresh::cached_token::CachedToken,
    telemetry::RejectionEffect,
};

/// How many of its own workers a caller sees aborted before it gives up: its runtime is shutting down.
const MAX_ABORTED_WORKERS: u32 = 3;

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

impl RefreshState {
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
}
