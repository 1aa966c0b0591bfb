//! [`ProcessState::examine`]: what a process does with a record.

use std::time::Duration;

use super::{
    failure::SharedFailure,
    other_process::OtherProcessFailed,
    payload::Payload,
    process_state::{ProcessState, SeenRecord},
    seal::OpenError,
    sealed_store::{OpenedRecord, read_clocks},
};
use crate::{
    login::{LoginError, LoginReason, LoginRequest},
    telemetry,
    token::AccessToken,
};

/// What a process does with a record.
pub(super) enum Examined {
    /// The process uses the record's token.
    Adopted(AccessToken),
    /// The process returns the error of another process, until the failure pause is over.
    Failed(LoginError),
    /// The record has nothing for this process, which can replace it.
    Replaceable,
    /// This process cannot read the record. Others may be able to, so it must not replace it.
    Unreadable,
}

impl ProcessState {
    /// Examines a record that was read just now. `remaining` is how long requests can still use the current token;
    /// `None` if they wait for the login.
    pub(super) fn examine(
        &mut self,
        record: OpenedRecord,
        request: &LoginRequest,
        remaining: Option<Duration>,
        claim_time_to_live: Duration,
    ) -> Examined {
        let OpenedRecord { revision, age, payload } = record;
        let now = read_clocks();
        let record = match payload {
            Ok(payload) => SeenRecord { revision, payload, measured_at: now },
            Err(error) => {
                // No process can read a damaged record.
                let is_damaged = error.downcast_ref() == Some(&OpenError::Damaged);
                // A process that can read the record would have replaced it by now.
                let is_abandoned = self.history.lifetime().is_some_and(|lifetime| age > lifetime);
                if is_damaged || is_abandoned {
                    self.seen = Some(SeenRecord {
                        revision,
                        payload: Payload::default(),
                        measured_at: now,
                    });
                    return Examined::Replaceable;
                }
                telemetry::shared_record_unreadable(&*error);
                return Examined::Unreadable;
            }
        };
        if let Some(aged) = record.payload.token.clone() {
            // The refresher can have had the token from elsewhere.
            let is_new = !request.trigger().was_rejected(&aged.token);
            let revisions = record.revisions();
            if is_new && self.history.can_adopt(&aged, revisions.token, claim_time_to_live, now) {
                telemetry::shared_token_adopted(aged.age);
                return Examined::Adopted(self.adopt(aged, record));
            }
            self.history.note_revision(&aged, revisions);
        }
        match &record.payload.failure {
            Some(failure)
                if !failure.remaining().is_zero() && request.reason != LoginReason::Forced =>
            {
                Examined::Failed(other_process_failed(failure, remaining))
            }
            _ => {
                self.seen = Some(record);
                Examined::Replaceable
            }
        }
    }
}

/// Returns the error of another process.
///
/// The cause of a permanent error, such as a wrong password, may not apply to this process. So the error is transient
/// while requests can use the current token: this process then logs in before the expiry. Without a current token, the
/// error is permanent, and calls fail immediately.
fn other_process_failed(failure: &SharedFailure, remaining: Option<Duration>) -> LoginError {
    let cause = OtherProcessFailed(failure.text.clone());
    if !failure.is_permanent {
        return LoginError::transient(cause).with_retry_after(failure.remaining());
    }
    match remaining {
        Some(_) => LoginError::transient(cause),
        None => LoginError::permanent(cause),
    }
}
