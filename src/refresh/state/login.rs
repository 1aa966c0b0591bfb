//! [`LoginState`]: which login is under way, whether another is requested, and when it can start.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::actions::Actions;
use crate::{clock::Timestamp, login::LoginError, refresh::login_line::Arrival};

#[derive(Debug, Default)]
pub(crate) struct LoginState {
    /// The login under way.
    pub(crate) attempt: Option<Attempt>,
    /// A call without a token waits for a login.
    pub(crate) wanted: bool,
    /// A caller or a token source has requested a refresh.
    pub(crate) forced: bool,
    /// The number of logins that have finished.
    pub(crate) completed: u64,
    /// The number of logins that have failed since the last success.
    pub(crate) failures: u32,
    /// How long the last login took. A login whose runtime stood still does not count.
    pub(crate) last_duration: Option<Duration>,
    /// When the refresher came into the line for a permit, while it is in line. A worker that replaces another keeps it.
    pub(crate) arrival: Option<Arrival>,
    /// The error of the last login, if it failed.
    last_error: Option<LoginError>,
    /// No login starts before this.
    not_before: Option<Instant>,
    /// Until then, calls share the error of the last login.
    failing_until: Option<Instant>,
    /// The remaining retries of a permanent failure. Each starts when the token has this much life left.
    retries: [Option<Duration>; 2],
    /// The retries have been planned since the last success.
    has_planned_retries: bool,
    /// The last login was discarded, because its runtime stood still.
    pub(crate) has_returned_late: bool,
}

/// A login under way.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) requested_at: Timestamp,
    /// A server has rejected the token during the login. If the login returns that token, it is discarded.
    pub(crate) rejected: bool,
    /// The application has invalidated the token during the login. The result is discarded.
    pub(crate) invalidated: bool,
    /// When the worker was last ready.
    last_tick: Timestamp,
    /// Two ticks were more than `TICK + MAX_TICK_DELAY` apart, without the time in the login itself.
    pub(crate) stood_still: bool,
}

/// How often the worker polls the state during a login.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// The delay of a tick after which the worker's runtime has stood still.
const MAX_TICK_DELAY: Duration = Duration::from_secs(1);

impl Attempt {
    /// Records that the worker's runtime makes progress. Since the last tick, the login itself ran for `login_poll_time`.
    pub(crate) fn on_tick(&mut self, login_poll_time: Duration, now: Timestamp) {
        self.stood_still |=
            self.last_tick.elapsed_at(now).saturating_sub(login_poll_time) > TICK + MAX_TICK_DELAY;
        self.last_tick = now;
    }
}

impl LoginState {
    /// ## Waiting => Logging in
    ///
    /// `not_before` is set at the start, so a login dropped with its runtime still delays the next one.
    pub(crate) fn start(&mut self, now: Timestamp, min_interval: Duration) {
        self.attempt = Some(Attempt {
            requested_at: now,
            rejected: false,
            invalidated: false,
            last_tick: now,
            stood_still: false,
        });
        self.not_before = now.monotonic.checked_add(min_interval);
        self.failing_until = None;
    }

    /// ## Logging in => Waiting
    ///
    /// The login has succeeded.
    pub(crate) fn succeed(
        &mut self,
        now: Timestamp,
        min_interval: Duration,
        actions: &mut Actions,
    ) {
        self.failures = 0;
        self.retries = [None; 2];
        self.has_planned_retries = false;
        actions.errors.extend(self.last_error.take());
        self.complete(now, min_interval);
    }

    /// ## Logging in => Waiting
    ///
    /// The login has failed. The next one starts after `pause`. The first permanent failure since the last success is
    /// retried twice in the life that is left to the token: half-way, and shortly before it expires.
    pub(crate) fn fail(
        &mut self,
        error: LoginError,
        now: Timestamp,
        pause: Duration,
        token_life: Duration,
        actions: &mut Actions,
    ) {
        if error.is_permanent() && !self.has_planned_retries {
            self.has_planned_retries = true;
            self.retries = [Some(token_life / 2), Some(token_life / 8)];
        }
        self.retries = self.retries.map(|retry| retry.filter(|retry| *retry < token_life));
        actions.errors.extend(self.last_error.replace(error));
        self.complete(now, pause);
        self.failing_until = self.not_before;
    }

    /// The result satisfies all requests made during the login.
    fn complete(&mut self, now: Timestamp, pause: Duration) {
        self.wanted = false;
        self.forced = false;
        self.completed += 1;
        self.has_returned_late = false;
        self.not_before = now.monotonic.checked_add(pause);
    }

    /// ## Logging in => Waiting
    ///
    /// The login failed or returned an expired token, because its runtime stood still. Callers wait for the next one.
    pub(crate) fn discard_late(&mut self, error: Option<LoginError>, actions: &mut Actions) {
        self.has_returned_late = true;
        if error.is_some() {
            actions.errors.extend(mem::replace(&mut self.last_error, error));
        }
    }

    pub(crate) fn last_error(&self) -> Option<&LoginError> {
        self.last_error.as_ref()
    }

    /// Returns the error of the last login, if it is permanent. The schedule does not apply then.
    pub(crate) fn permanent_error(&self) -> Option<&LoginError> {
        self.last_error.as_ref().filter(|error| error.is_permanent())
    }

    /// Returns the error that calls share while the pause after a failure lasts.
    pub(crate) fn error_in_pause(&self, now: Instant) -> Option<&LoginError> {
        let is_failing = self.failing_until.is_some_and(|until| until > now);
        self.last_error.as_ref().filter(|_| is_failing)
    }

    /// Returns the time left until a permanent failure is retried, given the token's remaining life.
    pub(crate) fn until_retry(&self, token_life: Duration) -> Option<Duration> {
        let retry = self.retries.iter().flatten().next()?;
        Some(token_life.saturating_sub(*retry))
    }

    /// Returns the time left until a login can start.
    pub(crate) fn until_allowed(&self, now: Instant) -> Duration {
        self.not_before
            .map_or(Duration::ZERO, |not_before| not_before.saturating_duration_since(now))
    }
}
