//! [`Session`]: the login service of a process, and what the process knows of the record.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    Revision,
    adoption::History,
    payload::{AgedToken, Payload, SharedFailure},
    sealed_store::read_clocks,
};
use crate::{
    clock::Timestamp,
    error,
    login::{
        LoginError, LoginReason, LoginRequest,
        erased::{Login, catch_panic},
        error::Kind,
        trigger::RefreshTrigger,
    },
    panic,
    token::AccessToken,
};

/// The longest text of an error that processes share, in characters.
const MAX_TEXT: usize = 500;

pub(super) struct Session {
    login: Box<dyn Login>,
    /// The record that the process has seen last.
    pub(super) seen: Option<SeenRecord>,
    pub(super) history: History,
    /// When the process logs in without the store, while that is unavailable.
    pub(super) unshared_login_at: Option<Instant>,
    /// How long the last login took.
    pub(super) last_login: Duration,
}

/// A record, as it was at one time.
pub(super) struct SeenRecord {
    pub(super) revision: Revision,
    pub(super) payload: Payload,
    /// When the payload had its age.
    pub(super) at: Timestamp,
}

impl SeenRecord {
    /// Returns the token of the record with its present age.
    pub(super) fn token(&self, now: Timestamp) -> Option<AgedToken> {
        self.payload.clone().aged(self.at.elapsed_at(now)).token
    }
}

/// The token of a login.
pub(super) struct Issued {
    token: AccessToken,
    pub(super) aged: AgedToken,
    /// When the token had that age.
    pub(super) at: Timestamp,
    took: Duration,
}

impl Session {
    pub(super) fn new(login: impl Login + 'static) -> Self {
        Self {
            login: Box::new(login),
            seen: None,
            history: History::default(),
            unshared_login_at: None,
            last_login: Duration::ZERO,
        }
    }

    /// Returns the revision that the process has seen last.
    pub(super) fn seen_revision(&self) -> Option<Revision> {
        self.seen.as_ref().map(|seen| seen.revision)
    }

    /// The refresher requests a token.
    pub(super) fn on_request(&mut self, reason: &LoginReason) {
        match reason {
            // Without an expected revision, the store returns its record.
            LoginReason::First => {
                self.seen = None;
                self.history.start();
            }
            LoginReason::Rejected { .. } => self.history.reject_last(),
            LoginReason::Expiring | LoginReason::Forced => {}
        }
    }

    /// Calls the login service. A panic of it is an error.
    pub(super) async fn log_in(
        &mut self,
        request: LoginRequest,
        limit: Duration,
    ) -> Result<Issued, LoginError> {
        let requested_at = read_clocks();
        let login = async { self.login.login(request).await };
        let token = timeout(limit, catch_panic(login))
            .await
            .unwrap_or_else(|_| Err(LoginError::new(Kind::LoginTimeout(limit), None)))?;
        let at = read_clocks();
        let aged = AgedToken::of_login(token.clone(), requested_at, at);
        Ok(Issued { token, aged, at, took: requested_at.elapsed_at(at) })
    }

    /// The refresher gets the token of a login. `revision` is that of its record, if it was put.
    ///
    /// The refresher's login may have started long before, if it waited for another process.
    pub(super) fn finish(&mut self, issued: Issued, revision: Option<Revision>) -> AccessToken {
        let Issued { mut token, aged, at, took } = issued;
        if token.age().is_none() {
            let since_request = aged.age.saturating_add(at.elapsed_at(read_clocks()));
            token = token.with_new_age(since_request);
        }
        if let Some(revision) = revision {
            let payload = Payload { token: Some(aged.clone()), failure: None };
            self.seen = Some(SeenRecord { revision, payload, at });
        }
        self.last_login = took;
        self.use_token(aged, revision, at);
        token
    }

    /// Returns the token of the record, if it is live and was not rejected. It can be that of another process.
    pub(super) fn kept_token(&self, trigger: &RefreshTrigger) -> Option<AgedToken> {
        self.seen.as_ref()?.token(read_clocks()).filter(|aged| {
            // It can have been rejected since the refresher's request.
            let is_lost = self.history.is_last(&aged.token) && trigger.lacks_token();
            aged.is_live() && !is_lost && !self.history.is_rejected(&aged.token)
        })
    }

    /// The refresher gets the token of a record that was read just now.
    pub(super) fn adopt(&mut self, aged: AgedToken, record: SeenRecord) -> AccessToken {
        let token = aged.token.clone().with_age(aged.age);
        self.use_token(aged, Some(record.revision), record.at);
        self.seen = Some(record);
        token
    }

    fn use_token(&mut self, aged: AgedToken, revision: Option<Revision>, at: Timestamp) {
        self.unshared_login_at = None;
        self.history.use_token(aged, revision, at);
    }
}

/// Returns an error as other processes see it; `None` if they can log in at once.
pub(super) fn shared_failure(
    error: &LoginError,
    previous: Option<&SharedFailure>,
) -> Option<SharedFailure> {
    let pause = SharedFailure::pause(error, previous)?;
    // The two outer errors only state that the login failed, and when it can be retried.
    let cause = || {
        let cause = std::error::Error::source(error)?.source()?;
        Some(error::message(cause).chars().take(MAX_TEXT).collect())
    };
    // The error's text is user code.
    let text = panic::catch(cause).flatten().unwrap_or_else(|| "unknown cause".to_owned());
    let is_permanent = error.is_permanent();
    Some(SharedFailure { text, is_permanent, age: Duration::ZERO, pause })
}
