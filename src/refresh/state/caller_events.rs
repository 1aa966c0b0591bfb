//! The events from callers: polls, rejections, requests for a refresh, the shutdown.

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

/// A caller fails after this many aborted workers that it started itself, because its runtime is shutting down.
const MAX_ABORTED_WORKERS: u32 = 3;

/// What a caller waits for, and what it has seen. Each poll repeats the demand, which therefore survives the loss of a
/// worker.
#[derive(Debug)]
pub(crate) struct Ticket {
    wait_for: WaitFor,
    /// The number of finished logins at the first poll.
    completed: Option<u64>,
    /// The worker that this caller started last.
    started: Option<WorkerId>,
    /// How many workers that this caller started have been aborted.
    aborted: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// Any usable token.
    AnyToken,
    /// The token of the next login to finish.
    NextLogin,
    /// As `NextLogin`. But if the last login failed permanently and there is a token, the caller gets that error and
    /// requests no login.
    NextLoginUnlessPermanentError,
}

impl Ticket {
    pub(crate) fn new(wait_for: WaitFor) -> Self {
        Self { wait_for, completed: None, started: None, aborted: 0 }
    }
}

/// Where a caller runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallerRuntimes {
    /// The caller's runtime.
    pub(crate) runtime: Option<runtime::Id>,
    /// The runtime on which a new worker would run.
    pub(crate) target: Option<Runtime>,
}

/// How far a caller's wait has come.
#[derive(Debug)]
pub(crate) enum Progress {
    Ready(Arc<CachedToken>),
    /// The caller polls after the next change, or at this time.
    Pending {
        next_poll_at: Option<Instant>,
    },
}

impl RefreshState {
    /// A call polls for a token that it did not read from the cell, or for the next login.
    ///
    /// ## Any => the same
    ///
    /// There is a usable token, or the pause after a failure lasts: the caller gets the token, or the error. A caller
    /// that gets a stale token after a permanent failure also requests a login.
    ///
    /// ## No worker => Waiting
    ///
    /// The caller starts a worker on its own runtime. The same applies if the worker on another runtime is late.
    ///
    /// ## Waiting => Waiting
    ///
    /// The call needs a login: the worker is woken.
    pub(crate) fn on_poll(
        &mut self,
        ticket: &mut Ticket,
        caller: CallerRuntimes,
        now: Timestamp,
        actions: &mut Actions,
    ) -> Result<Progress, LoginError> {
        if self.shut_down {
            return Err(LoginError::new(Kind::ShutDown, None));
        }
        let completed = *ticket.completed.get_or_insert_with(|| {
            let refresh_is_due = self.until_refresh(now) == Some(Duration::ZERO);
            self.usage.record_use(now.monotonic, refresh_is_due);
            self.login.completed
        });
        let login_has_finished = self.login.completed != completed;
        // An issuer that returns its cached token has no newer one. The refresh has succeeded if that is still current.
        let is_failure =
            |error: &&LoginError| !(error.is_same_token() && self.token.current().is_some());
        let error = self.login.last_error().filter(|_| login_has_finished).filter(is_failure);
        let error_in_pause = self.login.error_in_pause(now.monotonic);
        let same_token_in_pause =
            error_in_pause.is_some() && error_in_pause.filter(is_failure).is_none();
        if let Some(token) = self.token.current()
            && (ticket.wait_for == WaitFor::AnyToken
                || (login_has_finished && error.is_none())
                || same_token_in_pause)
        {
            let token = token.clone();
            if self.login_needs_call(now) {
                self.login.wanted = true;
                self.wake_worker(now, actions);
            }
            // Without a runtime there is no worker to refresh the token, but it is usable now.
            let _ = self.ensure_worker(ticket, caller, now, actions);
            return Ok(Progress::Ready(token));
        }
        if let Some(error) = error.or(error_in_pause) {
            return Err(error.clone());
        }
        if ticket.wait_for == WaitFor::NextLoginUnlessPermanentError
            && self.token.current().is_some()
            && let Some(error) = self.login.permanent_error()
        {
            return Err(error.clone());
        }
        self.ensure_worker(ticket, caller, now, actions)?;
        let demand = match ticket.wait_for {
            WaitFor::AnyToken => &mut self.login.wanted,
            WaitFor::NextLogin | WaitFor::NextLoginUnlessPermanentError => &mut self.login.forced,
        };
        if !*demand {
            *demand = true;
            self.wake_worker(now, actions);
        }
        Ok(Progress::Pending { next_poll_at: self.next_poll_at(caller) })
    }

    fn ensure_worker(
        &mut self,
        ticket: &mut Ticket,
        caller: CallerRuntimes,
        now: Timestamp,
        actions: &mut Actions,
    ) -> Result<(), LoginError> {
        if let Some(worker) = &self.worker {
            let runs_elsewhere = caller.target.is_some_and(|target| target.id != worker.runtime.id);
            let is_replaceable =
                self.login.attempt.is_none() && runs_elsewhere && worker.is_late(now.monotonic);
            if !is_replaceable {
                return Ok(());
            }
        }
        let Some(runtime) = caller.target else {
            return Err(LoginError::new(Kind::NoRuntime, None));
        };
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
        actions.start_worker = Some(id);
        Ok(())
    }

    /// Returns when the caller polls next, to replace a late worker. A worker cannot be replaced during its login.
    fn next_poll_at(&self, caller: CallerRuntimes) -> Option<Instant> {
        let worker = self.worker.as_ref().filter(|_| self.login.attempt.is_none())?;
        caller.target.filter(|target| {
            target.id != worker.runtime.id && caller.runtime != Some(worker.runtime.id)
        })?;
        worker.late_at()
    }

    /// Returns whether the worker is late on a runtime other than the caller's.
    pub(crate) fn is_undriven(&self, caller: Option<runtime::Id>, now: Timestamp) -> bool {
        self.worker.as_ref().is_some_and(|worker| {
            caller != Some(worker.runtime.id) && worker.is_late(now.monotonic)
        })
    }

    /// A token source requests a refresh, and does not wait for it. Without a worker, the next one serves the request. A
    /// retired refresher ignores it.
    ///
    /// [`AuthRefresher::refresh`](crate::AuthRefresher::refresh) polls for [`WaitFor::NextLogin`] instead.
    #[cfg_attr(
        not(feature = "token-file"),
        allow(dead_code, reason = "only that source reports by itself")
    )]
    pub(crate) fn on_source_request(&mut self, now: Timestamp, actions: &mut Actions) {
        if !self.shut_down && !self.is_retired {
            self.login.forced = true;
            self.wake_worker(now, actions);
        }
    }

    /// A server has rejected the token of this generation, of which only the lower 32 bits are known.
    ///
    /// ## Any => the same, without a token
    ///
    /// The rejection counts. The worker logs in. Without a worker, the next call starts the login. A login under way
    /// serves as the replacement if it returns another token.
    pub(crate) fn on_rejection(
        &mut self,
        generation: u32,
        challenge: Option<HeaderValue>,
        now: Timestamp,
        actions: &mut Actions,
    ) -> (Option<u64>, RejectionEffect) {
        let Some(token) = self.token.current() else {
            return (None, RejectionEffect::AlreadyReplaced);
        };
        let current = Some(token.generation);
        if token.generation as u32 != generation {
            return (current, RejectionEffect::AlreadyReplaced);
        }
        if token.is_too_new(self.policy.min_rejection_age, now) {
            return (current, RejectionEffect::TokenTooNew);
        }
        if !self.rejections.try_consume(self.policy.rejection_limit, now.monotonic) {
            return (current, RejectionEffect::RateLimited);
        }
        self.token.reject(challenge, actions);
        // The request that carried the token was a use.
        self.usage.record_use(now.monotonic, false);
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
            attempt.invalidated = true;
        }
        self.wake_worker(now, actions);
    }

    /// ## Any => the same
    ///
    /// The refresher's key was removed. A worker ends at its next login, unless a call requests it.
    #[cfg(feature = "keyed")]
    pub(crate) fn retire(&mut self) {
        self.is_retired = true;
    }

    /// ## Any => Shut down
    pub(crate) fn on_shutdown(&mut self, actions: &mut Actions) {
        self.shut_down = true;
        self.token.discard();
        actions.wake_worker = true;
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down
    }
}
