//! What is derived from the state: the cell, the status, the gauge. Nothing of it is stored beside the state.

use std::sync::Arc;

use super::{active_worker::WorkerId, refresh_state::RefreshState};
use crate::{
    login::LoginError,
    refresh::{
        cached_token::CachedToken,
        status::{State, Status},
    },
    telemetry::ExpiryGauge,
};
#[cfg(feature = "shared")]
use crate::token::AccessToken;

impl RefreshState {
    /// Returns what the cell contains, and whether its expiry must be checked at use.
    pub(crate) fn cell(&self) -> Option<(&Arc<CachedToken>, bool)> {
        let worker = self.worker.as_ref()?;
        let login_needs_call = self.last_tick.is_some_and(|now| self.login_needs_call(now));
        let token =
            self.token.current().filter(|_| !login_needs_call && !self.usage.withholds_token())?;
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
    #[cfg_attr(
        not(feature = "token-file"),
        allow(dead_code, reason = "only that source reports by itself")
    )]
    pub(crate) fn has_transient_failure(&self) -> bool {
        self.last_error().is_some_and(|error| !error.is_permanent())
    }

    pub(crate) fn status(&self) -> Status {
        let newest = self.token.newest_times();
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
        let is_expired =
            |token: &CachedToken| self.last_tick.is_some_and(|now| token.is_expired(now));
        match (self.token.current(), &self.login.attempt) {
            (Some(token), _) if is_expired(token) => State::Stale,
            (Some(_), Some(_)) => State::Refreshing,
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
            is_logging_in: self.login.attempt.is_some(),
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
            Some(token) => token.wall_expiry().map_or(ExpiryGauge::NoExpiry, ExpiryGauge::At),
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
    pub(crate) is_logging_in: bool,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) gauge: ExpiryGauge,
}
