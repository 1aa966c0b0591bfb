//! An [`Attempt`] without the store: at a random time before the current token expires.

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

/// How often a process that waits for its random time checks that its token can still be used.
const TOKEN_CHECK: Duration = Duration::from_millis(100);

impl Attempt {
    /// Logs in without the store.
    ///
    /// If requests waited for the token, other processes may need it too. So it is put if the store allows it by now.
    pub(super) async fn log_in_unshared(mut self) -> Result<AccessToken, LoginError> {
        let is_needed = self.remaining(read_clocks()).is_none();
        let issued = self.session.log_in(self.request.clone(), self.settings.login_timeout).await?;
        if is_needed {
            let (expected, next) = (self.session.seen_revision(), self.next_revision());
            // No request waits for it.
            let store_timeout = self.settings.claim_time_to_live;
            let settings = Settings { store_timeout, ..self.settings };
            let claimed_at = read_clocks().monotonic;
            let leader = Leader { settings, claim: self.claim, expected, next, claimed_at };
            let (aged, at) = (issued.aged.clone(), issued.at);
            tokio::spawn(async move { leader.claim_and_put(aged, at).await });
        }
        Ok(self.session.finish(issued, None))
    }

    /// Waits for a random part of the time that is left to the current token, so that not all processes log in at once.
    ///
    /// Only a refresh before expiry can wait. Returns whether it has waited. An error means that the refresher has to retry.
    pub(super) async fn spread_out(&mut self) -> Result<bool, LoginError> {
        let now = read_clocks();
        let Some(remaining) = self.remaining(now) else { return Ok(false) };
        let after = spread::login_after(remaining, self.session.last_login, self.settings.random());
        let planned = *self
            .session
            .unshared_login_at
            .get_or_insert(now.monotonic.checked_add(after).unwrap_or(now.monotonic));
        let until_login = planned.saturating_duration_since(now.monotonic).min(remaining);
        let patience = self
            .settings
            .login_timeout
            .saturating_sub(self.requested_at.elapsed_at(now))
            .saturating_sub(self.settings.store_timeout * 2);
        let attempt = self.request.attempt;
        match spread::delay(until_login, patience, attempt, self.settings.random()) {
            Delay::Wait(delay) => {
                let _ = timeout(delay, token_lost(self.request.trigger().clone())).await;
                Ok(!delay.is_zero())
            }
            Delay::Retry => Err(LoginError::transient(Unshared { login_in: until_login })),
        }
    }
}

/// Waits until the refresher has no token any more: a server has rejected it, or a clock has jumped.
async fn token_lost(trigger: RefreshTrigger) {
    while !trigger.lacks_token() {
        sleep(TOKEN_CHECK).await;
    }
}

/// The store is unavailable, and the current token is live.
#[derive(Debug)]
struct Unshared {
    login_in: Duration,
}

impl fmt::Display for Unshared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token store unavailable: login without it in {:?}", self.login_in)
    }
}

impl Error for Unshared {}
