//! [`Attempt`]: one login of a process, through the store or without it.

use std::{error::Error, fmt, ops::ControlFlow, panic::resume_unwind, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::{
    ClaimId, Revision,
    leader::Leader,
    payload::{FAILURE_TIME, Payload},
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
/// How many records one login reads at most.
const MAX_RECORDS: u32 = 16;

pub(super) struct Attempt {
    pub(super) settings: Settings,
    pub(super) session: OwnedMutexGuard<Session>,
    pub(super) request: LoginRequest,
    /// When the refresher requested the token.
    pub(super) requested_at: Timestamp,
    claim: ClaimId,
    /// The epoch of the next record, if there is none yet.
    epoch: [u8; 8],
}

/// What a record is good for.
enum Use {
    Token(AccessToken),
    /// The permanent error of another process.
    Failure(LoginError),
    /// Nothing: it can be replaced.
    Nothing,
    /// Nothing for this process. Other processes can read it.
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
        Ok(Self { settings, session, request, requested_at, claim: ClaimId(claim), epoch })
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
                Ok(Claimed::Denied { .. })
                    if self.requested_at.elapsed_at(now) >= self.settings.login_timeout =>
                {
                    return ControlFlow::Continue(self);
                }
                Ok(Claimed::Denied { expires_in }) => {
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
                // Processes that can read it would have replaced it by now.
                let is_abandoned =
                    self.session.history.lifetime().is_some_and(|lifetime| age > lifetime);
                if is_abandoned {
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
                if failure.age < FAILURE_TIME && self.request.reason != LoginReason::Forced =>
            {
                Use::Failure(LoginError::permanent(FailedElsewhere(failure.text.clone())))
            }
            _ => {
                self.session.seen = Some(record);
                Use::Nothing
            }
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

    /// Returns the pause until the next claim. With a live token, the process can wait longer.
    fn pause(&self, step: Duration) -> Duration {
        let live = self.session.history.live(read_clocks()).and_then(|aged| aged.remaining());
        live.map_or(step, |remaining| (remaining / 4).clamp(FIRST_PAUSE, MAX_UNHURRIED_PAUSE))
    }
}

/// The permanent error of another process.
#[derive(Debug)]
struct FailedElsewhere(String);

impl fmt::Display for FailedElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login of another process failed: {}", self.0)
    }
}

impl Error for FailedElsewhere {}
