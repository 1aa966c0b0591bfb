//! [`ProcessState`]: the login service of a process, and what the process knows of the record.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    Revision,
    aged_token::AgedToken,
    history::{History, RecordRevisions},
    payload::Payload,
    sealed_store::read_clocks,
};
use crate::{
    clock::Timestamp,
    login::{
        LoginError, LoginReason, LoginRequest,
        erased::{Login, catch_panic},
        error::Kind,
        trigger::RefreshTrigger,
    },
    token::AccessToken,
};

pub(super) struct ProcessState {
    login: Box<dyn Login>,
    /// The record that the process has seen last.
    pub(super) seen: Option<SeenRecord>,
    pub(super) history: History,
    /// When the process logs in, if the store is still unavailable.
    pub(super) login_without_store_at: Option<Instant>,
    /// How long the last login took.
    pub(super) last_login: Duration,
}

/// A record, and when its ages were measured.
pub(super) struct SeenRecord {
    pub(super) revision: Revision,
    pub(super) payload: Payload,
    /// When the ages in the payload were measured.
    pub(super) measured_at: Timestamp,
}

impl SeenRecord {
    pub(super) fn revisions(&self) -> RecordRevisions {
        let token = self.payload.token_revision.unwrap_or(self.revision);
        RecordRevisions { token, record: self.revision }
    }

    /// Returns the token of the record with its age at `now`.
    pub(super) fn token(&self, now: Timestamp) -> Option<AgedToken> {
        self.payload.clone().aged(self.measured_at.elapsed_at(now)).token
    }
}

/// The token of a login.
pub(super) struct IssuedToken {
    token: AccessToken,
    pub(super) aged: AgedToken,
    /// When the age was measured.
    pub(super) measured_at: Timestamp,
    /// How long the login took.
    elapsed: Duration,
}

impl ProcessState {
    pub(super) fn new(login: impl Login + 'static) -> Self {
        Self {
            login: Box::new(login),
            seen: None,
            history: History::default(),
            login_without_store_at: None,
            last_login: Duration::ZERO,
        }
    }

    /// Returns the revision that the process has seen last.
    pub(super) fn seen_revision(&self) -> Option<Revision> {
        self.seen.as_ref().map(|seen| seen.revision)
    }

    /// Notes why the refresher requests a token.
    pub(super) fn on_request(&mut self, request: &LoginRequest) {
        match request.reason {
            // With the expected revision `None`, the store returns its record.
            LoginReason::First => {
                self.seen = None;
                // Before a later attempt, the refresher may have got a token that has expired by its default
                // lifetime.
                if request.attempt == 1 {
                    self.history.reset();
                }
            }
            LoginReason::Rejected { .. } => self.history.reject_last_used(),
            LoginReason::Expiring | LoginReason::Forced => {}
        }
    }

    /// Calls the login service. A panic counts as an error.
    pub(super) async fn log_in(
        &mut self,
        request: LoginRequest,
        limit: Duration,
    ) -> Result<IssuedToken, LoginError> {
        let requested_at = read_clocks();
        let login = async { self.login.login(request).await };
        let token = timeout(limit, catch_panic(login))
            .await
            .unwrap_or_else(|_| Err(LoginError::new(Kind::LoginTimeout(limit), None)))?;
        let measured_at = read_clocks();
        let aged = AgedToken::from_login(token.clone(), requested_at, measured_at);
        Ok(IssuedToken { token, aged, measured_at, elapsed: requested_at.elapsed_at(measured_at) })
    }

    /// Returns the token of a login to the refresher. `revision` is that of its record, if it is in one.
    ///
    /// The refresher would count the age from its own request, which is too early if the process has waited for another
    /// one.
    pub(super) fn use_issued(
        &mut self,
        issued: IssuedToken,
        revision: Option<Revision>,
    ) -> AccessToken {
        let IssuedToken { mut token, aged, measured_at, elapsed } = issued;
        if token.age().is_none() {
            let since_request = aged.age.saturating_add(measured_at.elapsed_at(read_clocks()));
            token = token.with_new_age(since_request);
        }
        if let Some(revision) = revision {
            let payload = Payload { token: Some(aged.clone()), ..Payload::default() };
            self.seen = Some(SeenRecord { revision, payload, measured_at });
        }
        self.last_login = elapsed;
        self.use_token(aged, revision.map(RecordRevisions::of_token), measured_at);
        token
    }

    /// Returns the token of the record that was seen last, if it is live and was not rejected. Another process may have
    /// put it.
    pub(super) fn record_token(&self, trigger: &RefreshTrigger) -> Option<AgedToken> {
        self.seen.as_ref()?.token(read_clocks()).filter(|aged| {
            // A server may have rejected it since the refresher's request.
            let is_lost = self.history.is_last_used(&aged.token) && trigger.lacks_token();
            aged.is_live() && !is_lost && !self.history.is_rejected(&aged.token)
        })
    }

    /// Returns the token of a record to the refresher. The record was read just now.
    pub(super) fn adopt(&mut self, aged: AgedToken, record: SeenRecord) -> AccessToken {
        let token = aged.token.clone().with_age(aged.age);
        self.use_token(aged, Some(record.revisions()), record.measured_at);
        self.seen = Some(record);
        token
    }

    fn use_token(
        &mut self,
        aged: AgedToken,
        revision: Option<RecordRevisions>,
        measured_at: Timestamp,
    ) {
        self.login_without_store_at = None;
        self.history.use_token(aged, revision, measured_at);
    }
}
