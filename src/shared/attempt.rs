//! [`Attempt`]: one login of a process. This file has the login through the store.

use std::{ops::ControlFlow, panic::resume_unwind, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::{
    ClaimId, Revision,
    examine::Examined,
    leader::{Leader, ReleaseOnDrop, release_later},
    other_process::OtherProcessHasClaim,
    process_state::ProcessState,
    sealed_store::{Claimed, OpenedRecord, read_clocks},
    settings::Settings,
    waits::{self, FIRST_POLL_INTERVAL, MAX_POLL_INTERVAL, MIN_POLL_INTERVAL, SeenExpiries},
};
use crate::{
    BoxError,
    clock::Timestamp,
    login::{LoginError, LoginReason, LoginRequest, current::spawn_in_login},
    telemetry,
    token::AccessToken,
};

/// What counts as the remaining time of a current token that does not expire: the refresher's longest lead by default.
const REMAINING_WITHOUT_EXPIRY: Duration = Duration::from_secs(300);
/// How many records one login reads at most.
const MAX_RECORDS: u32 = 16;

/// Why a process stops polling the store.
enum Polled {
    /// The claim is granted. It was requested at this time.
    Granted(Instant),
    /// The login ends with the token or the error of another process.
    Ended(Result<AccessToken, LoginError>),
    /// The process has to log in without the store.
    WithoutStore,
}

pub(super) struct Attempt {
    pub(super) settings: Settings,
    pub(super) process: OwnedMutexGuard<ProcessState>,
    pub(super) request: LoginRequest,
    /// When the refresher requested the token.
    pub(super) requested_at: Timestamp,
    pub(super) claim: ClaimId,
    /// The random parts of the next record's revision: the epoch and the last bytes.
    revision: ([u8; 8], [u8; 4]),
}

impl Attempt {
    pub(super) fn new(
        settings: Settings,
        mut process: OwnedMutexGuard<ProcessState>,
        request: LoginRequest,
        requested_at: Timestamp,
    ) -> Result<Self, LoginError> {
        process.on_request(&request);
        let (mut claim, mut epoch, mut unique) = ([0; 16], [0; 8], [0; 4]);
        let random = SystemRandom::new();
        random
            .fill(&mut claim)
            .and_then(|()| random.fill(&mut epoch))
            .and_then(|()| random.fill(&mut unique))
            .map_err(|_| LoginError::transient("random numbers unavailable"))?;
        let claim = ClaimId(claim);
        Ok(Self { settings, process, request, requested_at, claim, revision: (epoch, unique) })
    }

    pub(super) async fn log_in(self) -> Result<AccessToken, LoginError> {
        let mut attempt = match self.log_in_through_store().await {
            ControlFlow::Break(result) => return result,
            ControlFlow::Continue(attempt) => attempt,
        };
        if attempt.wait_for_random_time().await? {
            // The store may be available by now.
            attempt = match attempt.log_in_through_store().await {
                ControlFlow::Break(result) => return result,
                ControlFlow::Continue(attempt) => attempt,
            };
        }
        attempt.log_in_without_store().await
    }

    /// Adopts the token of another process, or logs in for all processes. Continues if this process has to log in
    /// without the store.
    async fn log_in_through_store(mut self) -> ControlFlow<Result<AccessToken, LoginError>, Self> {
        match self.poll_store().await {
            Polled::Granted(claimed_at) => {
                ControlFlow::Break(self.log_in_as_leader(claimed_at).await)
            }
            Polled::Ended(result) => ControlFlow::Break(result),
            Polled::WithoutStore => ControlFlow::Continue(self),
        }
    }

    /// Claims until the claim is granted, or this process cannot wait for others any longer.
    async fn poll_store(&mut self) -> Polled {
        let Settings { login_timeout, claim_time_to_live, store_timeout, .. } = self.settings;
        let time_to_live = claim_time_to_live.min(login_timeout);
        let (mut interval, mut records, mut is_responsive) = (FIRST_POLL_INTERVAL, 0, false);
        let mut seen = SeenExpiries::default();
        loop {
            let now = read_clocks();
            let expected = self.process.seen_revision();
            let live = || self.process.history.live_token(now)?.remaining();
            let live = self.remaining(now).or_else(live);
            let limit = waits::store_timeout(store_timeout, live, is_responsive);
            let unknown_claim = ReleaseOnDrop::new(&self.settings, self.claim);
            let claimed =
                self.settings.store.claim(expected, self.claim, time_to_live, limit).await;
            unknown_claim.disarm();
            is_responsive = claimed.is_ok();
            match claimed {
                Ok(Claimed::Granted) => return Polled::Granted(now.monotonic),
                Ok(Claimed::Denied { expires_in }) => {
                    seen.add(expires_in);
                    if self.requested_at.elapsed_at(now) >= login_timeout {
                        return self.end_wait(time_to_live, seen);
                    }
                    let remaining = self.remaining(read_clocks());
                    let until_claim = waits::poll_interval(interval, remaining)
                        .min(expires_in)
                        .max(MIN_POLL_INTERVAL);
                    self.settings.store.changed(expected, MIN_POLL_INTERVAL, until_claim).await;
                    interval = (interval * 2).min(MAX_POLL_INTERVAL);
                }
                Ok(Claimed::Changed(_)) if records >= MAX_RECORDS => return Polled::WithoutStore,
                Ok(Claimed::Changed(None)) => {
                    self.process.seen = None;
                    records += 1;
                }
                Ok(Claimed::Changed(Some(record))) => {
                    if let Some(polled) = self.examine(*record) {
                        return polled;
                    }
                    records += 1;
                }
                Err(error) => return self.on_claim_error(&error, now, limit).await,
            }
        }
    }

    /// Other processes have had the claim for as long as this one waits.
    fn end_wait(&self, time_to_live: Duration, seen: SeenExpiries) -> Polled {
        if waits::can_wait_again(time_to_live, self.request.attempt, seen) {
            let error = OtherProcessHasClaim { waited: self.settings.login_timeout };
            return Polled::Ended(Err(LoginError::transient(error)));
        }
        Polled::WithoutStore
    }

    /// The store may have granted the claim although it returned an error. If it has responded, it may still be
    /// readable.
    async fn on_claim_error(
        &mut self,
        error: &BoxError,
        claimed_at: Timestamp,
        limit: Duration,
    ) -> Polled {
        telemetry::token_store_unavailable(&**error);
        self.release_unknown_claim();
        if claimed_at.elapsed_at(read_clocks()) < limit {
            self.load_read_only(limit).await
        } else {
            Polled::WithoutStore
        }
    }

    /// Reads a store that can be read-only, as a home directory or a replica.
    async fn load_read_only(&mut self, limit: Duration) -> Polled {
        match self.settings.store.load(limit).await {
            Ok(Some(record)) => self.examine(record).unwrap_or(Polled::WithoutStore),
            Ok(None) | Err(_) => Polled::WithoutStore,
        }
    }

    /// Returns `None` if the record can be replaced.
    fn examine(&mut self, record: OpenedRecord) -> Option<Polled> {
        let remaining = self.remaining(read_clocks());
        let time_to_live = self.settings.claim_time_to_live;
        match self.process.examine(record, &self.request, remaining, time_to_live) {
            Examined::Adopted(token) => Some(Polled::Ended(Ok(token))),
            Examined::Failed(error) => Some(Polled::Ended(Err(error))),
            Examined::Unreadable => Some(Polled::WithoutStore),
            Examined::Replaceable => None,
        }
    }

    /// Logs in for all processes, in a task of its own. If this future is dropped, the next login reads the record.
    async fn log_in_as_leader(self, claimed_at: Instant) -> Result<AccessToken, LoginError> {
        let next = self.next_revision();
        let Self { settings, mut process, request, claim, .. } = self;
        let expected = process.seen_revision();
        let leader = Leader { settings, claim, expected, next, claimed_at };
        process.login_without_store_at = None;
        let task = spawn_in_login(async move {
            let login = leader.log_in(&mut process, request).await;
            (process, login)
        });
        match task.await {
            Ok((mut process, login)) => {
                login.map(|(issued, revision)| process.use_issued(issued, revision))
            }
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(LoginError::transient("runtime shut down during the login")),
            },
        }
    }

    /// Returns the revision of the record that replaces the record that the process has seen last.
    pub(super) fn next_revision(&self) -> Revision {
        let (epoch, random) = self.revision;
        let (expected, used) = (self.process.seen_revision(), self.process.history.revision());
        Revision::following(expected, used, epoch, random)
    }

    /// Returns how long requests can still use the current token; `None` if they wait for the login.
    pub(super) fn remaining(&self, now: Timestamp) -> Option<Duration> {
        if self.request.reason != LoginReason::Expiring {
            return None;
        }
        // The refresher also knows of a rejection during this login, and of the default lifetime.
        let remaining = match self.request.trigger().token_remaining() {
            Some(remaining) => remaining?,
            None => self.process.history.live_token(now)?.remaining().unwrap_or(Duration::MAX),
        };
        match remaining {
            // Requests may use a stale token, but a new one is needed.
            Duration::ZERO => None,
            Duration::MAX => Some(REMAINING_WITHOUT_EXPIRY),
            remaining => Some(remaining),
        }
    }

    /// Releases a claim that the store may have granted although it returned an error. Does not wait for the release.
    fn release_unknown_claim(&mut self) {
        release_later(&self.settings, self.claim);
        // So that the release does not end the next claim.
        self.claim = self.claim.next();
    }
}
