//! [`Session::examine`]: what a process does with a record.

use std::time::Duration;

use super::{
    elsewhere::FailedElsewhere,
    payload::{Payload, SharedFailure},
    seal::OpenError,
    sealed_store::{OpenedRecord, read_clocks},
    session::{SeenRecord, Session},
};
use crate::{
    login::{LoginError, LoginReason},
    telemetry,
    token::AccessToken,
};

/// What a record is good for.
pub(super) enum Use {
    Token(AccessToken),
    /// The error of another process, after which all processes pause.
    Failure(LoginError),
    /// Nothing: it can be replaced.
    Nothing,
    /// Nothing for this process. Other processes may be able to read it.
    Unreadable,
}

impl Session {
    /// Examines a record that was read just now. `remaining` is how long the current token can still be used; `None` if
    /// requests wait for the login.
    pub(super) fn examine(
        &mut self,
        record: OpenedRecord,
        reason: &LoginReason,
        remaining: Option<Duration>,
        claim_time_to_live: Duration,
    ) -> Use {
        let OpenedRecord { revision, age, payload } = record;
        let now = read_clocks();
        let record = match payload {
            Ok(payload) => SeenRecord { revision, payload, at: now },
            Err(error) => {
                // No process can read it.
                let is_damaged = error.downcast_ref() == Some(&OpenError::Damaged);
                // Processes that can read it would have replaced it by now.
                let is_abandoned = self.history.lifetime().is_some_and(|lifetime| age > lifetime);
                if is_damaged || is_abandoned {
                    self.seen = Some(SeenRecord { revision, payload: Payload::default(), at: now });
                    return Use::Nothing;
                }
                telemetry::shared_record_unreadable(&*error);
                return Use::Unreadable;
            }
        };
        if let Some(aged) = record.payload.token.clone() {
            if self.history.can_adopt(&aged, revision, claim_time_to_live, now) {
                telemetry::shared_token_adopted(aged.age);
                return Use::Token(self.adopt(aged, record));
            }
            self.history.see(&aged, revision);
        }
        match &record.payload.failure {
            Some(failure) if !failure.remaining().is_zero() && *reason != LoginReason::Forced => {
                Use::Failure(failed_elsewhere(failure, remaining))
            }
            _ => {
                self.seen = Some(record);
                Use::Nothing
            }
        }
    }
}

/// Returns the error of another process.
///
/// A permanent one can have a cause that this process does not share, such as a wrong password. So it is transient while the
/// current token can be used: this process logs in before the expiry. Without a token, calls fail at once.
fn failed_elsewhere(failure: &SharedFailure, remaining: Option<Duration>) -> LoginError {
    let cause = FailedElsewhere(failure.text.clone());
    if !failure.is_permanent {
        return LoginError::transient(cause).with_retry_after(failure.remaining());
    }
    match remaining {
        Some(_) => LoginError::transient(cause),
        None => LoginError::permanent(cause),
    }
}
