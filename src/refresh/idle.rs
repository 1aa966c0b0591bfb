//! Whether anybody still uses the token, found out at no cost to requests.
//!
//! Requests leave no trace while the token is in the cell. So the worker parks it now and then: takes it out of the cell
//! and lays it beside. The next request finds the cell empty, puts the token back, and is noticed.

use std::time::Duration;

use tokio::time::Instant;

use super::lease::Moment;

/// How many times the token is parked in the time after which its refreshes pause, so that the last use is known to so
/// small a part of that time.
const LOOKS: u32 = 8;

#[derive(Debug)]
pub(crate) struct Idle {
    /// How long without requests until refreshes pause; `None`: they never do.
    after: Option<Duration>,
    used: Instant,
    /// The uses that have been noticed.
    wants: u64,
    parked: bool,
    /// There has been a use since the refresh came due: it is wanted.
    due_and_used: bool,
}

impl Idle {
    pub(crate) fn new(after: Option<Duration>) -> Self {
        Self { after, used: Instant::now(), wants: 0, parked: false, due_and_used: false }
    }

    /// Takes note of uses: calls that found no token, or found it parked. `due`: whether the refresh is.
    pub(crate) fn notice(&mut self, wants: u64, due: bool, now: Moment) {
        if self.wants != wants {
            self.wants = wants;
            self.used = now.monotonic;
            self.parked = false;
            self.due_and_used |= due;
        }
    }

    /// The token has been laid beside the cell.
    pub(crate) fn parked(&mut self) {
        self.parked = true;
    }

    /// A token has been put into the cell.
    pub(crate) fn published(&mut self) {
        self.parked = false;
        self.due_and_used = false;
    }

    /// How long until the token is to be parked, if its refresh is due in so long.
    ///
    /// That is early enough to tell whether there were requests in the time that counts, and no more often than needed.
    pub(crate) fn until_park(&self, due: Option<Duration>, now: Moment) -> Option<Duration> {
        let after = self.after.filter(|_| !self.parked && !self.due_and_used)?;
        let unused = now.monotonic.saturating_duration_since(self.used);
        Some(due?.saturating_sub(after).max((after / LOOKS).saturating_sub(unused)))
    }

    /// Whether there have been no requests for so long that refreshes pause.
    pub(crate) fn is_idle(&self, has_token: bool, now: Moment) -> bool {
        let unused = now.monotonic.saturating_duration_since(self.used);
        self.after.is_some_and(|after| unused >= after) && (self.parked || !has_token)
    }
}
