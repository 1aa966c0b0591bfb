//! How callers wait: they watch the worker, and ask it. Dropping them loses nothing.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{builder::NoTokenPolicy, lease::Lease, shared::Shared, worker};
use crate::{LoginError, login::Kind};

/// A caller gives up when it has lost so many workers: its runtime is ending.
const MOST_LOST_WORKERS: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Any token that may be used.
    Token,
    /// What the next login to end brings.
    NewToken,
}

impl Shared {
    /// Waits for a token, at most as long as a caller may.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        match self.usable() {
            Some(lease) => Ok(lease),
            None => self.wait(Wanted::Token, self.settings.wait_timeout).await,
        }
    }

    /// Waits for the end of a login that is running, or else of one that is started for this caller: the worker takes what
    /// was asked for while it logged in as done.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Arc<Lease>, LoginError> {
        let limit = self.settings.login_timeout.saturating_add(self.settings.wait_timeout);
        self.wait(Wanted::NewToken, limit).await
    }

    /// The same, for a token that lives at least so long still, or else as long as can be had.
    pub(crate) async fn token_valid_for(self: &Arc<Self>, remaining: Duration) -> Result<Arc<Lease>, LoginError> {
        let lease = self.token().await?;
        let now = self.now();
        let lives_on = lease.until_expired(now).is_none_or(|left| left >= remaining);
        if lives_on || lease.is_young(now) {
            return Ok(lease);
        }
        match self.refresh().await {
            Ok(newer) => Ok(newer),
            Err(error) => self.usable().ok_or(error),
        }
    }

    /// What becomes of a call that could get no token: `None`, it is sent all the same.
    pub(crate) fn or_unauthenticated(
        &self,
        lease: Result<Arc<Lease>, LoginError>,
    ) -> Result<Option<Arc<Lease>>, LoginError> {
        match lease {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.is_shut_down() => Err(error),
            Err(_) if self.settings.no_token == NoTokenPolicy::SendUnauthenticated => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn wait(self: &Arc<Self>, wanted: Wanted, limit: Duration) -> Result<Arc<Lease>, LoginError> {
        if worker::is_logging_in_for(self) {
            return Err(LoginError::new(Kind::Reentrant, None));
        }
        runtime()?;
        let _waiting = self.settings.events.waiting();
        timeout(limit, self.watch(wanted)).await.unwrap_or_else(|_elapsed| {
            Err(LoginError::timed_out(Kind::WaitTimeout(limit), self.status.borrow().last_error.as_ref()))
        })
    }

    async fn watch(self: &Arc<Self>, wanted: Wanted) -> Result<Arc<Lease>, LoginError> {
        let mut status = self.status.subscribe();
        let (ended_before, lost_before) = {
            let status = status.borrow();
            (status.ended, status.lost_workers)
        };
        let mut asked = false;
        loop {
            // The status first, then the cell: the worker writes them the other way round, so that no change between
            // the two is missed.
            let (ended, failure) = {
                let status = status.borrow_and_update();
                if status.lost_workers - lost_before >= MOST_LOST_WORKERS {
                    return Err(LoginError::new(Kind::WorkerEnded, None));
                }
                let ended = status.ended != ended_before;
                let failure = if ended { status.last_error.as_ref() } else { status.failing_at(Instant::now()) };
                (ended, failure.cloned())
            };
            self.ensure_worker()?;
            let may_take = wanted == Wanted::Token || (ended && failure.is_none());
            if may_take && let Some(lease) = &*self.current.load() {
                return Ok(lease.clone());
            }
            if let Some(error) = failure {
                return Err(error);
            }
            if !asked {
                self.demand.send_modify(|demand| match wanted {
                    Wanted::Token => demand.wants += 1,
                    Wanted::NewToken => demand.forces += 1,
                });
                asked = true;
            }
            if status.changed().await.is_err() {
                return Err(LoginError::new(Kind::ShutDown, None));
            }
        }
    }
}

/// The caller's runtime.
pub(super) fn runtime() -> Result<Handle, LoginError> {
    Handle::try_current().map_err(|error| LoginError::new(Kind::NoRuntime, Some(error.into())))
}
