//! An [`Attempt`] without the store, at a random time before the current token expires.

use std::{error::Error, fmt, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    attempt::Attempt,
    leader::Leader,
    sealed_store::read_clocks,
    settings::Settings,
    spread::{self, Delay},
};
use crate::{
    login::{LoginError, trigger::RefreshTrigger},
    token::AccessToken,
};

/// How often a process that waits for its random time checks that the current token is live.
const TOKEN_CHECK_INTERVAL: Duration = Duration::from_millis(100);

impl Attempt {
    /// Logs in without the store.
    ///
    /// If requests wait for the token, other processes may need it too. So the process claims afterwards, and puts the
    /// token if the claim is granted.
    pub(super) async fn log_in_without_store(mut self) -> Result<AccessToken, LoginError> {
        let is_needed = self.remaining(read_clocks()).is_none();
        let issued = self.process.log_in(self.request.clone(), self.settings.login_timeout).await?;
        if is_needed {
            let (expected, next) = (self.process.seen_revision(), self.next_revision());
            // The store has more time here, because no request waits for it.
            let store_timeout = self.settings.claim_time_to_live;
            let settings = Settings { store_timeout, ..self.settings };
            let claimed_at = read_clocks().monotonic;
            let leader = Leader { settings, claim: self.claim, expected, next, claimed_at };
            let (aged, measured_at) = (issued.aged.clone(), issued.measured_at);
            tokio::spawn(async move { leader.claim_and_put(aged, measured_at).await });
        }
        Ok(self.process.use_issued(issued, None))
    }

    /// Waits for a random part of the current token's remaining time, so that not all processes log in at once.
    ///
    /// Waits only if the current token is live. Returns whether it has waited. After an error, the refresher retries.
    pub(super) async fn wait_for_random_time(&mut self) -> Result<bool, LoginError> {
        let now = read_clocks();
        let Some(remaining) = self.remaining(now) else { return Ok(false) };
        let after = spread::login_after(remaining, self.process.last_login, self.settings.random());
        let planned = *self
            .process
            .login_without_store_at
            .get_or_insert(now.monotonic.checked_add(after).unwrap_or(now.monotonic));
        let until_login = planned.saturating_duration_since(now.monotonic).min(remaining);
        let max_wait = self
            .settings
            .login_timeout
            .saturating_sub(self.requested_at.elapsed_at(now))
            .saturating_sub(self.settings.store_timeout.saturating_mul(2));
        let attempt = self.request.attempt;
        match spread::delay(until_login, max_wait, attempt, self.settings.random()) {
            Delay::Wait(delay) => {
                let _ = timeout(delay, token_lost(self.request.trigger().clone())).await;
                Ok(!delay.is_zero())
            }
            Delay::Retry => Err(LoginError::transient(WithoutStore { login_in: until_login })),
        }
    }
}

/// Waits until the refresher has no live token: a server has rejected it, or a clock has jumped.
async fn token_lost(trigger: RefreshTrigger) {
    while !trigger.lacks_token() {
        sleep(TOKEN_CHECK_INTERVAL).await;
    }
}

/// The store is unavailable, and the current token is live. The process logs in later.
#[derive(Debug)]
struct WithoutStore {
    login_in: Duration,
}

impl fmt::Display for WithoutStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token store unavailable, next login without it in {:?}", self.login_in)
    }
}

impl Error for WithoutStore {}
