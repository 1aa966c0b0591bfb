//! [`Attempt`]: one login of a process, through the store or without it.

use std::{ops::ControlFlow, panic::resume_unwind, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::{
    ClaimId, Revision,
    adoption::CLOCK_TOLERANCE,
    elsewhere::{ClaimedElsewhere, FailedElsewhere},
    leader::{Leader, release_later},
    payload::{Payload, SharedFailure},
    seal::OpenError,
    sealed_store::{Claimed, OpenedRecord, read_clocks},
    session::{SeenRecord, Session},
    settings::Settings,
};
use crate::{
    clock::Timestamp,
    login::{LoginError, LoginReason, LoginRequest, current::spawn_in_login},
    telemetry,
    token::AccessToken,
};

/// The pauses of a process that waits for another one.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause of a process that has a live token.
const MAX_UNHURRIED_PAUSE: Duration = Duration::from_secs(1);
/// The least time for a step of the store, while the current token is about to expire.
const MIN_STORE_TIMEOUT: Duration = Duration::from_millis(10);
/// The same, if the store has just responded. Then it is slow rather than unavailable, because many processes call it
/// shortly before the expiry. All of them would log in.
const MIN_RESPONSIVE_STORE_TIMEOUT: Duration = Duration::from_millis(100);
/// After this attempt, a process does not rely on the logins of others.
const LAST_RELIANT_ATTEMPT: u32 = 2;
/// How many records one login reads at most.
const MAX_RECORDS: u32 = 16;

pub(super) struct Attempt {
    pub(super) settings: Settings,
    pub(super) session: OwnedMutexGuard<Session>,
    pub(super) request: LoginRequest,
    /// When the refresher requested the token.
    pub(super) requested_at: Timestamp,
    pub(super) claim: ClaimId,
    /// The epoch of the next record, if there is none yet.
    pub(super) epoch: [u8; 8],
}

/// What a record is good for.
enum Use {
    Token(AccessToken),
    /// The error of another process, after which all processes pause.
    Failure(LoginError),
    /// Nothing: it can be replaced.
    Nothing,
    /// Nothing for this process. Other processes may be able to read it.
    Unreadable,
}

impl Attempt {
    pub(super) fn new(
        settings: Settings,
        mut session: OwnedMutexGuard<Session>,
        request: LoginRequest,
        requested_at: Timestamp,
    ) -> Result<Self, LoginError> {
        session.on_request(&request.reason);
        let (mut claim, mut epoch) = ([0; 16], [0; 8]);
        let random = SystemRandom::new();
        random
            .fill(&mut claim)
            .and_then(|()| random.fill(&mut epoch))
            .map_err(|_| LoginError::transient("random numbers unavailable"))?;
        let claim = ClaimId(claim);
        Ok(Self { settings, session, request, requested_at, claim, epoch })
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
        let (mut pause, mut records, mut is_responsive) = (FIRST_PAUSE, 0, false);
        let mut patience = None;
        loop {
            let now = read_clocks();
            let known = self.session.known();
            let time_to_live = self.settings.claim_time_to_live.min(self.settings.login_timeout);
            let limit = self.store_timeout(now, is_responsive);
            let claimed = self.settings.store.claim(known, self.claim, time_to_live, limit).await;
            is_responsive = claimed.is_ok();
            match claimed {
                Ok(Claimed::Granted) => {
                    return ControlFlow::Break(self.log_in_as_leader(now.monotonic).await);
                }
                Ok(Claimed::Denied { expires_in }) => {
                    let patience = *patience.get_or_insert_with(|| self.patience());
                    if self.requested_at.elapsed_at(now) >= patience {
                        return match self.relies_on_claim(expires_in) {
                            true => {
                                ControlFlow::Break(Err(LoginError::transient(ClaimedElsewhere)))
                            }
                            false => ControlFlow::Continue(self),
                        };
                    }
                    let limit = self.pause(pause).min(expires_in).max(MIN_PAUSE);
                    self.settings.store.changed(known, MIN_PAUSE, limit).await;
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
        let OpenedRecord { revision, age, payload } = record;
        let now = read_clocks();
        let record = match payload {
            Ok(payload) => SeenRecord { revision, payload, at: now },
            Err(error) => {
                // No process can read it.
                let is_damaged = error.downcast_ref() == Some(&OpenError::Damaged);
                // Processes that can read it would have replaced it by now.
                let is_abandoned =
                    self.session.history.lifetime().is_some_and(|lifetime| age > lifetime);
                if is_damaged || is_abandoned {
                    let payload = Payload::default();
                    self.session.seen = Some(SeenRecord { revision, payload, at: now });
                    return Use::Nothing;
                }
                telemetry::shared_record_unreadable(&*error);
                return Use::Unreadable;
            }
        };
        let time_to_live = self.settings.claim_time_to_live;
        if let Some(aged) = record.payload.token.clone() {
            if self.session.history.can_adopt(&aged, revision, time_to_live, now) {
                telemetry::shared_token_adopted(aged.age);
                let token = self.session.adopt(aged, record);
                return Use::Token(token);
            }
            self.session.history.see(&aged, revision);
        }
        match &record.payload.failure {
            Some(failure)
                if !failure.remaining().is_zero() && self.request.reason != LoginReason::Forced =>
            {
                Use::Failure(self.failed_elsewhere(failure))
            }
            _ => {
                self.session.seen = Some(record);
                Use::Nothing
            }
        }
    }

    /// Returns the error of another process.
    ///
    /// A permanent one can have a cause that this process does not share, such as a wrong password. So it is transient while
    /// the current token can be used: this process logs in before the expiry. Without a token, calls fail at once.
    fn failed_elsewhere(&self, failure: &SharedFailure) -> LoginError {
        let cause = FailedElsewhere(failure.text.clone());
        if !failure.is_permanent {
            return LoginError::transient(cause).with_retry_after(failure.remaining());
        }
        match self.remaining(read_clocks()) {
            Some(_) => LoginError::transient(cause),
            None => LoginError::permanent(cause),
        }
    }

    /// Logs in for all processes, in a task of its own. If this future is dropped, the next login finds the record.
    async fn log_in_as_leader(self, claimed_at: Instant) -> Result<AccessToken, LoginError> {
        let Self { settings, mut session, request, claim, epoch, .. } = self;
        let known = session.known();
        let next = Revision::next(known, session.history.revision(), epoch);
        let leader = Leader { settings, claim, known, next, claimed_at };
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

    /// Returns the limit of a step of the store. The current token must not expire before its end.
    fn store_timeout(&self, now: Timestamp, is_responsive: bool) -> Duration {
        let min = if is_responsive { MIN_RESPONSIVE_STORE_TIMEOUT } else { MIN_STORE_TIMEOUT };
        let limit = self.settings.store_timeout;
        let live = self.session.history.live(now).and_then(|aged| aged.remaining());
        live.map_or(limit, |remaining| (remaining / 2).max(min).min(limit))
    }

    /// Returns how long the current token can still be used; `None` if requests wait for the login.
    pub(super) fn remaining(&self, now: Timestamp) -> Option<Duration> {
        // The history does not know of a rejection during this login.
        let is_usable =
            self.request.reason == LoginReason::Expiring && !self.request.trigger().lacks_token();
        self.session.history.live(now).filter(|_| is_usable)?.remaining()
    }

    /// Returns the pause until the next claim. With a live token, the process can wait longer.
    fn pause(&self, step: Duration) -> Duration {
        self.remaining(read_clocks())
            .map_or(step, |remaining| (remaining / 4).clamp(FIRST_PAUSE, MAX_UNHURRIED_PAUSE))
    }

    /// Returns for how long the process waits for the logins of others. Processes that then log in must not do so at the
    /// same time.
    fn patience(&self) -> Duration {
        let limit = self.settings.login_timeout;
        match self.request.attempt {
            ..=LAST_RELIANT_ATTEMPT => limit,
            _ => limit.saturating_add((limit / 2).mul_f64(self.settings.random())),
        }
    }

    /// Returns whether another process is logging in, and this one can wait for it again.
    ///
    /// A claim that ends later than any claim should is a fault of the store.
    fn relies_on_claim(&self, expires_in: Duration) -> bool {
        let time_to_live = self.settings.claim_time_to_live;
        let tolerance = time_to_live / CLOCK_TOLERANCE;
        self.request.attempt <= LAST_RELIANT_ATTEMPT
            && expires_in <= time_to_live.saturating_add(tolerance)
    }

    /// Releases a claim that the store can have granted although it returned an error. Does not wait for that.
    fn withdraw_claim(&mut self) {
        release_later(&self.settings, self.claim);
        // The release must not end the next claim.
        self.claim = self.claim.next();
    }
}
