//! What can be seen of a refresher from outside.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::{Expiry, LoginError};

/// A snapshot of a refresher. It holds no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What the refresher is doing.
    pub state: State,
    /// When the login of the newest token was sent, by the wall clock.
    pub issued: Option<SystemTime>,
    /// When the newest token ends; `None` as long as there has been none.
    pub expiry: Option<Expiry>,
    /// How many tokens have been published.
    pub generation: u64,
    /// How many logins have failed since the last good one.
    pub failures: u32,
    /// Why the last of them failed; `None` after a good one.
    pub last_error: Option<LoginError>,
    /// Logins that have come to an end, so that a waiter can tell one that did while it waited.
    pub(crate) ended: u64,
    /// After a failure: when the next login may start.
    pub(crate) retry_at: Option<Instant>,
    /// Workers that were ended by their runtime.
    pub(crate) lost_workers: u64,
}

/// What a refresher is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Nothing: no request has come yet, or none for [long](crate::AuthRefresherBuilder::pause_when_idle), or the
    /// runtime of the last one has ended. The next request sets it going.
    Idle,
    /// A login is running or about to start; there is no token to use meanwhile.
    LoggingIn,
    /// There is a token.
    Live,
    /// There is a token, and a login is running that will bring the next.
    Refreshing,
    /// There is a token that has expired, which is [used all the same](crate::NoTokenPolicy::ServeStale).
    Stale,
    /// There is no token, since logins fail; the next is tried after a pause.
    Failing,
    /// [Shut down](crate::AuthRefresher::shutdown), for good.
    ShutDown,
}

impl Status {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Idle,
            issued: None,
            expiry: None,
            generation: 0,
            failures: 0,
            last_error: None,
            ended: 0,
            retry_at: None,
            lost_workers: 0,
        }
    }

    /// The failure to answer with at `now`, if the next login may not start yet.
    pub(crate) fn failing_at(&self, now: Instant) -> Option<&LoginError> {
        self.last_error.as_ref().filter(|_| self.retry_at.is_some_and(|retry_at| now < retry_at))
    }
}
