//! [`RefreshState`]: the parts together, and the times that follow from them.

use std::{cmp, time::Duration};

use super::{
    actions::Actions,
    active_worker::{ActiveWorker, WorkerId},
    login::LoginState,
    token::TokenState,
    usage::UsageTracker,
};
use crate::{
    clock::Timestamp,
    rate_limit::{RateBudget, RateLimit},
    refresh::schedule::{Backoff, Schedule},
    token::AccessToken,
};

/// The settings that the state needs.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) schedule: Schedule,
    pub(crate) min_rejection_age: Duration,
    pub(crate) rejection_limit: RateLimit,
    pub(crate) idle_after: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            schedule: Schedule {
                refresh_lead: Duration::from_secs(300),
                jitter: true,
                default_lifetime: None,
                max_stale: Duration::ZERO,
                backoff: Backoff { min: Duration::from_millis(500), max: Duration::from_secs(60) },
            },
            min_rejection_age: Duration::from_secs(1),
            rejection_limit: RateLimit { max: 6, per: Duration::from_secs(60) },
            idle_after: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct RefreshState {
    pub(super) policy: Policy,
    pub(super) token: TokenState,
    pub(super) login: LoginState,
    pub(super) usage: UsageTracker,
    pub(super) rejections: RateBudget,
    pub(super) worker: Option<ActiveWorker>,
    pub(super) last_worker: WorkerId,
    /// The last worker whose task ended unexpectedly.
    pub(super) last_aborted: Option<WorkerId>,
    pub(super) shut_down: bool,
    /// The refresher's key was removed. Only a call starts a login.
    pub(super) is_retired: bool,
    /// When the last event happened, for an event that must not read a clock.
    pub(super) last_tick: Option<Timestamp>,
}

impl RefreshState {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            usage: UsageTracker::new(policy.idle_after),
            policy,
            token: TokenState::default(),
            login: LoginState::default(),
            rejections: RateBudget::default(),
            worker: None,
            last_worker: WorkerId(0),
            last_aborted: None,
            shut_down: false,
            is_retired: false,
            last_tick: None,
        }
    }

    /// Starts with a token that no login returned.
    pub(crate) fn set_initial_token(&mut self, token: AccessToken, now: Timestamp, random: f64) {
        self.token.set_initial(token, now, &self.policy.schedule, random);
    }

    /// Precedes every event.
    pub(crate) fn on_tick(&mut self, now: Timestamp, actions: &mut Actions) {
        self.last_tick = Some(now);
        self.token.on_tick(now, actions);
    }

    pub(super) fn wake_worker(&mut self, now: Timestamp, actions: &mut Actions) {
        actions.wake_worker = true;
        if let Some(worker) = self.worker.as_mut().filter(|_| self.login.attempt.is_none()) {
            worker.expect_now(now.monotonic);
        }
    }

    pub(super) fn until_refresh(&self, now: Timestamp) -> Option<Duration> {
        self.token.current()?.until_refresh(now)
    }

    /// Returns the time left until a scheduled login; ignores callers' demands. `None` if no login is scheduled.
    pub(super) fn until_scheduled_login(&self, now: Timestamp) -> Option<Duration> {
        let token = self.token.current();
        let until_due = match token {
            _ if self.login.permanent_error().is_some() => {
                let life = token
                    .and_then(|token| token.until_expired(now))
                    .filter(|life| !life.is_zero())?;
                self.login.until_retry(life)?
            }
            Some(token) => token.until_refresh(now)?,
            None => Duration::ZERO,
        };
        Some(cmp::max(until_due, self.login.until_allowed(now.monotonic)))
    }

    /// Returns the time until a stale token is withheld from the cell, so that the next call requests a login. `None` if
    /// the token is not stale, the last failure was not permanent, or a login is under way.
    ///
    /// Without this, a permanent failure would be retried with no call, or not at all.
    pub(super) fn until_stale_withheld(&self, now: Timestamp) -> Option<Duration> {
        let is_stale = self.token.current().is_some_and(|token| token.is_expired(now));
        let needs_call =
            is_stale && self.login.permanent_error().is_some() && self.login.attempt.is_none();
        needs_call.then(|| self.login.until_allowed(now.monotonic))
    }

    /// Returns whether a stale token is withheld from the cell, because the next login needs a call.
    pub(super) fn login_needs_call(&self, now: Timestamp) -> bool {
        self.until_stale_withheld(now) == Some(Duration::ZERO)
    }

    /// Returns the time left until the token expires, or becomes unusable if it has expired.
    pub(super) fn until_token_changes(&self, now: Timestamp) -> Option<Duration> {
        let token = self.token.current()?;
        token
            .until_expired(now)
            .filter(|left| !left.is_zero())
            .or_else(|| token.until_unusable(now))
    }
}
