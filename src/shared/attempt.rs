//! [`Attempt`]: one login of a process, through the store or without it.

use std::{ops::ControlFlow, panic::resume_unwind, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::{
    ClaimId, Revision,
    elsewhere::ClaimedElsewhere,
    examine::Use,
    leader::{Leader, release_later},
    sealed_store::{Claimed, OpenedRecord, read_clocks},
    session::Session,
    settings::Settings,
    waits::{self, FIRST_PAUSE, MAX_PAUSE, MIN_PAUSE},
};
use crate::{
    clock::Timestamp,
    login::{LoginError, LoginReason, LoginRequest, current::spawn_in_login},
    telemetry,
    token::AccessToken,
};

/// How many records one login reads at most.
const MAX_RECORDS: u32 = 16;

pub(super) struct Attempt {
    pub(super) settings: Settings,
    pub(super) session: OwnedMutexGuard<Session>,
    pub(super) request: LoginRequest,
    /// When the refresher requested the token.
    pub(super) requested_at: Timestamp,
    pub(super) claim: ClaimId,
    /// The random parts of the next record's revision.
    revision: ([u8; 8], [u8; 4]),
}

impl Attempt {
    pub(super) fn new(
        settings: Settings,
        mut session: OwnedMutexGuard<Session>,
        request: LoginRequest,
        requested_at: Timestamp,
    ) -> Result<Self, LoginError> {
        session.on_request(&request.reason);
        let (mut claim, mut epoch, mut unique) = ([0; 16], [0; 8], [0; 4]);
        let random = SystemRandom::new();
        random
            .fill(&mut claim)
            .and_then(|()| random.fill(&mut epoch))
            .and_then(|()| random.fill(&mut unique))
            .map_err(|_| LoginError::transient("random numbers unavailable"))?;
        let claim = ClaimId(claim);
        Ok(Self { settings, session, request, requested_at, claim, revision: (epoch, unique) })
    }

    pub(super) async fn log_in(self) -> Result<AccessToken, LoginError> {
        let mut attempt = match self.through_store().await {
            ControlFlow::Break(result) => return result,
            ControlFlow::Continue(attempt) => attempt,
        };
        if attempt.spread_out().await? {
            // The store may be available again.
            attempt = match attempt.through_store().await {
                ControlFlow::Break(result) => return result,
                ControlFlow::Continue(attempt) => attempt,
            };
        }
        attempt.log_in_unshared().await
    }

    /// Adopts the token of another process, or logs in for all. Continues if this process has to log in by itself.
    async fn through_store(mut self) -> ControlFlow<Result<AccessToken, LoginError>, Self> {
        let Settings { login_timeout, claim_time_to_live, store_timeout, .. } = self.settings;
        let attempt = self.request.attempt;
        let (mut pause, mut records, mut is_responsive) = (FIRST_PAUSE, 0, false);
        let mut patience = None;
        loop {
            let now = read_clocks();
            let expected = self.session.seen_revision();
            let time_to_live = claim_time_to_live.min(login_timeout);
            let live = self.session.history.live(now).and_then(|aged| aged.remaining());
            let limit = waits::store_timeout(store_timeout, live, is_responsive);
            let claimed =
                self.settings.store.claim(expected, self.claim, time_to_live, limit).await;
            is_responsive = claimed.is_ok();
            match claimed {
                Ok(Claimed::Granted) => {
                    return ControlFlow::Break(self.log_in_as_leader(now.monotonic).await);
                }
                Ok(Claimed::Denied { expires_in }) => {
                    let patience = *patience.get_or_insert_with(|| {
                        waits::patience(login_timeout, attempt, self.settings.random())
                    });
                    if self.requested_at.elapsed_at(now) >= patience {
                        return match waits::relies_on_claim(claim_time_to_live, attempt, expires_in)
                        {
                            true => {
                                ControlFlow::Break(Err(LoginError::transient(ClaimedElsewhere)))
                            }
                            false => ControlFlow::Continue(self),
                        };
                    }
                    let remaining = self.remaining(read_clocks());
                    let limit = waits::pause(pause, remaining).min(expires_in).max(MIN_PAUSE);
                    self.settings.store.changed(expected, MIN_PAUSE, limit).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
                Ok(Claimed::Changed(_)) if records >= MAX_RECORDS => {
                    return ControlFlow::Continue(self);
                }
                Ok(Claimed::Changed(None)) => {
                    self.session.seen = None;
                    records += 1;
                }
                Ok(Claimed::Changed(Some(record))) => {
                    match self.examine(*record) {
                        Use::Token(token) => return ControlFlow::Break(Ok(token)),
                        Use::Failure(error) => return ControlFlow::Break(Err(error)),
                        Use::Nothing => {}
                        Use::Unreadable => return ControlFlow::Continue(self),
                    }
                    records += 1;
                }
                Err(error) => {
                    telemetry::token_store_unavailable(&*error);
                    self.withdraw_claim();
                    let has_responded = now.elapsed_at(read_clocks()) < limit;
                    return if has_responded {
                        self.load(limit).await
                    } else {
                        ControlFlow::Continue(self)
                    };
                }
            }
        }
    }

    /// Reads a store that has refused a claim: it can be read-only, as a home directory or a replica.
    async fn load(mut self, limit: Duration) -> ControlFlow<Result<AccessToken, LoginError>, Self> {
        match self.settings.store.load(limit).await {
            Ok(Some(record)) => match self.examine(record) {
                Use::Token(token) => ControlFlow::Break(Ok(token)),
                Use::Failure(error) => ControlFlow::Break(Err(error)),
                Use::Nothing | Use::Unreadable => ControlFlow::Continue(self),
            },
            Ok(None) | Err(_) => ControlFlow::Continue(self),
        }
    }

    fn examine(&mut self, record: OpenedRecord) -> Use {
        let remaining = self.remaining(read_clocks());
        let time_to_live = self.settings.claim_time_to_live;
        self.session.examine(record, &self.request.reason, remaining, time_to_live)
    }

    /// Logs in for all processes, in a task of its own. If this future is dropped, the next login finds the record.
    async fn log_in_as_leader(self, claimed_at: Instant) -> Result<AccessToken, LoginError> {
        let next = self.next_revision();
        let Self { settings, mut session, request, claim, .. } = self;
        let expected = session.seen_revision();
        let leader = Leader { settings, claim, expected, next, claimed_at };
        session.unshared_login_at = None;
        let task = spawn_in_login(async move {
            let login = leader.log_in(&mut session, request).await;
            (session, login)
        });
        match task.await {
            Ok((mut session, login)) => {
                login.map(|(issued, revision)| session.finish(issued, revision))
            }
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(LoginError::transient("runtime shut down during the login")),
            },
        }
    }

    /// Returns the revision of the record that replaces the one that the process has seen last.
    pub(super) fn next_revision(&self) -> Revision {
        let (epoch, random) = self.revision;
        let (expected, used) = (self.session.seen_revision(), self.session.history.revision());
        Revision::next(expected, used, epoch, random)
    }

    /// Returns how long the current token can still be used; `None` if requests wait for the login.
    pub(super) fn remaining(&self, now: Timestamp) -> Option<Duration> {
        // The history does not know of a rejection during this login.
        let is_usable =
            self.request.reason == LoginReason::Expiring && !self.request.trigger().lacks_token();
        self.session.history.live(now).filter(|_| is_usable)?.remaining()
    }

    /// Releases a claim that the store can have granted although it returned an error. Does not wait for that.
    fn withdraw_claim(&mut self) {
        release_later(&self.settings, self.claim);
        // The release must not end the next claim.
        self.claim = self.claim.next();
    }
}
