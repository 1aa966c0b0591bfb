//! [`Leader`]: the process that logs in for all processes. It extends its claim during the login, and puts the result.

use std::{convert::Infallible, future::pending, time::Duration};

use tokio::{
    runtime::Handle,
    select,
    time::{Instant, sleep},
};

use super::{
    ClaimId, Revision,
    aged_token::AgedToken,
    failure::SharedFailure,
    payload::Payload,
    process_state::{IssuedToken, ProcessState},
    sealed_store::{Claimed, read_clocks},
    settings::Settings,
};
use crate::{
    clock::Timestamp,
    login::{LoginError, LoginRequest},
    telemetry,
};

/// A process whose claim is granted.
pub(super) struct Leader {
    pub(super) settings: Settings,
    pub(super) claim: ClaimId,
    /// The revision of the record that the claim is for.
    pub(super) expected: Option<Revision>,
    /// The revision of the next record.
    pub(super) next: Revision,
    /// When the claim was requested.
    pub(super) claimed_at: Instant,
}

impl Leader {
    /// Logs in. Returns the token, and the revision of its record if it is in one.
    pub(super) async fn log_in(
        &self,
        process: &mut ProcessState,
        request: LoginRequest,
    ) -> Result<(IssuedToken, Option<Revision>), LoginError> {
        let trigger = request.trigger().clone();
        let login = process.log_in(request, self.settings.login_timeout);
        let login = select! {
            biased;
            login = login => login,
            never = self.extend_claim() => match never {},
        };
        match login {
            // The issuer has returned the token of the record a second time.
            Ok(issued) if self.is_in_record(process, &issued) => {
                self.release().await;
                Ok((issued, process.history.revision()))
            }
            Ok(issued) => {
                let revision = self.put_token(&issued.aged).await;
                Ok((issued, revision))
            }
            Err(error) => {
                let seen = process.seen.as_ref();
                let previous = seen.and_then(|seen| seen.payload.failure.as_ref());
                match SharedFailure::new(&error, previous) {
                    Some(failure) => {
                        let token_revision = seen.map(|seen| seen.revisions().token);
                        let token = process.record_token(&trigger);
                        self.put_failure(token, token_revision, failure).await;
                    }
                    None => self.release().await,
                }
                Err(error)
            }
        }
    }

    /// Extends the claim until this future is dropped, but not beyond `login_timeout`.
    ///
    /// If the claim is lost, the login continues, because this process can use its token.
    async fn extend_claim(&self) -> Infallible {
        let Settings { store, login_timeout, claim_time_to_live, store_timeout, .. } =
            &self.settings;
        loop {
            sleep(*claim_time_to_live / 3).await;
            let elapsed = read_clocks().monotonic.saturating_duration_since(self.claimed_at);
            let time_to_live = login_timeout.saturating_sub(elapsed).min(*claim_time_to_live);
            if time_to_live.is_zero() {
                return pending().await;
            }
            match store.extend(self.claim, time_to_live, *store_timeout).await {
                Ok(true) => {}
                Ok(false) => return pending().await,
                Err(error) => telemetry::token_store_unavailable(&*error),
            }
        }
    }

    /// Puts the token of a login without the store, unless another process has the claim or has replaced the record.
    pub(super) async fn claim_and_put(&self, mut aged: AgedToken, measured_at: Timestamp) {
        let Settings { store, claim_time_to_live, store_timeout, .. } = &self.settings;
        match store.claim(self.expected, self.claim, *claim_time_to_live, *store_timeout).await {
            Ok(Claimed::Granted) => {
                aged.age = aged.age.saturating_add(measured_at.elapsed_at(read_clocks()));
                self.put_token(&aged).await;
            }
            Ok(_) => {}
            Err(error) => {
                telemetry::token_store_unavailable(&*error);
                release_later(&self.settings, self.claim);
            }
        }
    }

    async fn put_token(&self, aged: &AgedToken) -> Option<Revision> {
        let payload = Payload { token: Some(aged.clone()), ..Payload::default() };
        self.put(&payload, aged.remaining()).await.then_some(self.next)
    }

    /// Returns whether the record contains this token, and no error.
    fn is_in_record(&self, process: &ProcessState, issued: &IssuedToken) -> bool {
        let history = &process.history;
        process.seen.as_ref().is_some_and(|seen| seen.payload.failure.is_none())
            && history.revision() == self.expected
            && history.is_last_used(&issued.aged.token)
    }

    /// Puts an error beside the record's token.
    async fn put_failure(
        &self,
        token: Option<AgedToken>,
        token_revision: Option<Revision>,
        failure: SharedFailure,
    ) {
        let time_to_live = match &token {
            Some(aged) => aged.remaining().map(|remaining| remaining.max(failure.pause)),
            None => Some(failure.pause),
        };
        let token_revision = token_revision.filter(|_| token.is_some());
        let payload = Payload { token, token_revision, failure: Some(failure) };
        self.put(&payload, time_to_live).await;
    }

    /// Returns whether the payload was put.
    async fn put(&self, payload: &Payload, time_to_live: Option<Duration>) -> bool {
        let Settings { store, store_timeout, login_timeout, .. } = &self.settings;
        // A login that starts before the expiry replaces this record at its end. If the store has deleted the record by
        // then, that put returns false.
        let time_to_live =
            time_to_live.map(|time| time.saturating_add(login_timeout.saturating_mul(2)));
        let put =
            store.put(self.expected, self.claim, self.next, payload, time_to_live, *store_timeout);
        match put.await {
            Ok(true) => true,
            Ok(false) => {
                telemetry::token_claim_lost();
                false
            }
            Err(error) => {
                telemetry::token_store_unavailable(&*error);
                release_later(&self.settings, self.claim);
                false
            }
        }
    }

    async fn release(&self) {
        if let Err(error) =
            self.settings.store.release(self.claim, self.settings.store_timeout).await
        {
            telemetry::token_store_unavailable(&*error);
        }
    }
}

/// Releases a claim if it is dropped: a call that is dropped can have been granted the claim.
pub(super) struct ReleaseOnDrop {
    settings: Settings,
    claim: ClaimId,
    is_armed: bool,
}

impl ReleaseOnDrop {
    pub(super) fn new(settings: &Settings, claim: ClaimId) -> Self {
        Self { settings: settings.clone(), claim, is_armed: true }
    }

    pub(super) fn disarm(mut self) {
        self.is_armed = false;
    }
}

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        // A runtime that shuts down cannot release it. Then the claim ends after its time to live.
        if self.is_armed && Handle::try_current().is_ok() {
            release_later(&self.settings, self.claim);
        }
    }
}

/// Releases a claim that may be granted, in a task of its own.
pub(super) fn release_later(settings: &Settings, claim: ClaimId) {
    let (store, limit) = (settings.store.clone(), settings.claim_time_to_live);
    tokio::spawn(async move {
        // After an error, the claim expires.
        let _ = store.release(claim, limit).await;
    });
}
