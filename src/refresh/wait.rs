//! How callers wait: each subscribes to the changes, polls the state, and polls it after each change.
//!
//! Dropping a waiting caller does not stop the login, because that runs in the worker.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    cached_token::CachedToken,
    settings::NoTokenPolicy,
    shared::Shared,
    state::{
        active_worker::{Runtime, WorkerId},
        caller_events::{CallerRuntimes, Progress, Ticket, WaitFor},
    },
    worker::Worker,
};
use crate::{
    clock::Timestamp,
    login::{LoginError, current, error::Kind},
};

/// A wait for a token.
pub(crate) type TokenFuture =
    Pin<Box<dyn Future<Output = Result<Arc<CachedToken>, LoginError>> + Send>>;

/// The worker that a caller must start.
pub(super) struct NewWorker {
    pub(super) id: WorkerId,
    pub(super) wake: Arc<Notify>,
    /// Wakes the worker that it replaces.
    pub(super) replaced_wake: Option<Arc<Notify>>,
}

impl Shared {
    /// Returns the current token, or waits for one for at most `wait_timeout`.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Arc<CachedToken>, LoginError> {
        self.wait(WaitFor::AnyToken, self.settings.wait_timeout).await
    }

    /// Waits for the login under way, or for one that is started for this caller.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Arc<CachedToken>, LoginError> {
        let limit = self.settings.login_timeout.saturating_add(self.settings.wait_timeout);
        self.wait(WaitFor::NextLogin, limit).await
    }

    /// Returns a token that lives for at least `min`, or the current one, after at most `wait_timeout`.
    pub(crate) async fn token_valid_for(
        self: &Arc<Self>,
        min: Duration,
    ) -> Result<Arc<CachedToken>, LoginError> {
        let started_at = self.now();
        let token = self.token().await?;
        let now = self.now();
        if token.until_expired(now).is_none_or(|remaining| remaining >= min)
            || token.is_in_first_quarter(now)
        {
            return Ok(token);
        }
        let waited = now.monotonic.saturating_duration_since(started_at.monotonic);
        match self
            .wait(
                WaitFor::NextLoginUnlessPermanentError,
                self.settings.wait_timeout.saturating_sub(waited),
            )
            .await
        {
            Ok(newer) => Ok(newer),
            Err(error) => self.usable_token().ok_or(error),
        }
    }

    /// Returns whether a request is sent without a token after a wait that ended with this error.
    pub(crate) fn sends_unauthenticated_after(&self, error: &LoginError) -> bool {
        self.settings.no_token == NoTokenPolicy::SendUnauthenticated && !error.is_shut_down()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the deadline is for tokio's timer, not for the state"
    )]
    async fn wait(
        self: &Arc<Self>,
        wait_for: WaitFor,
        limit: Duration,
    ) -> Result<Arc<CachedToken>, LoginError> {
        if current::is_login_of(self.id.number()) {
            let usable = self.usable_token().filter(|_| wait_for == WaitFor::AnyToken);
            return usable.ok_or_else(|| LoginError::new(Kind::Reentrant, None));
        }
        let mut ticket = Ticket::new(wait_for);
        // Before the first poll, so that no change after it is missed.
        let mut changes = self.status.subscribe();
        let mut next_poll_at = match self.poll(&mut ticket)? {
            Progress::Ready(token) => return Ok(token),
            Progress::Pending { next_poll_at } => next_poll_at,
        };
        let _waiting = self.settings.telemetry.waiting();
        let deadline = Instant::now() + limit;
        loop {
            let next = next_poll_at.map_or(deadline, |next| next.min(deadline));
            match timeout_at(next, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return Err(LoginError::new(Kind::ShutDown, None)),
                Err(_elapsed) if Instant::now() >= deadline => {
                    return Err(self.wait_timed_out(limit));
                }
                Err(_elapsed) => {}
            }
            next_poll_at = match self.poll(&mut ticket)? {
                Progress::Ready(token) => return Ok(token),
                Progress::Pending { next_poll_at } => next_poll_at,
            };
        }
    }

    /// Reports a caller's poll to the state, and starts the worker that the state requests.
    fn poll(self: &Arc<Self>, ticket: &mut Ticket) -> Result<Progress, LoginError> {
        let caller_runtime = Handle::try_current().ok();
        let worker_runtime = self.settings.runtime.as_ref().or(caller_runtime.as_ref());
        let caller = CallerRuntimes {
            runtime: caller_runtime.as_ref().map(Handle::id),
            target: worker_runtime.map(Runtime::from_handle),
        };
        let (progress, new_worker) = self.poll_state(ticket, caller, self.now());
        if let (Some(NewWorker { id, wake, replaced_wake }), Some(runtime)) =
            (new_worker, worker_runtime)
        {
            // A replaced worker ends as soon as its runtime is driven.
            if let Some(replaced) = replaced_wake {
                replaced.notify_one();
            }
            Worker::spawn(self, id, wake, runtime);
        }
        match progress? {
            // The wait needs a timer.
            Progress::Pending { .. } if caller_runtime.is_none() => {
                Err(LoginError::new(Kind::NoRuntime, None))
            }
            progress => Ok(progress),
        }
    }

    pub(super) fn poll_state(
        &self,
        ticket: &mut Ticket,
        caller: CallerRuntimes,
        now: Timestamp,
    ) -> (Result<Progress, LoginError>, Option<NewWorker>) {
        self.event_at(now, |locked, now, actions| {
            let progress = locked.state.on_poll(ticket, caller, now, actions);
            // In the same event, so that the wake-up belongs to this worker.
            let new_worker = actions.start_worker.take().map(|id| {
                let (wake, replaced_wake) = locked.new_wake();
                NewWorker { id, wake, replaced_wake }
            });
            (progress, new_worker)
        })
    }

    fn wait_timed_out(&self, limit: Duration) -> LoginError {
        let caller = Handle::try_current().ok().map(|runtime| runtime.id());
        let (is_undriven, last_error) = self.event(|locked, now, _| {
            (locked.state.is_undriven(caller, now), locked.state.last_error().cloned())
        });
        let kind = if is_undriven { Kind::Undriven(limit) } else { Kind::WaitTimeout(limit) };
        LoginError::timed_out(kind, last_error.as_ref())
    }
}
