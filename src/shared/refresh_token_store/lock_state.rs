//! [`LockState`]: the progress of a login that has the lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::REPLACED;
use crate::{
    oauth2::RefreshToken,
    shared::{ClaimId, Revision},
};

const NOT_LOCKED: &str = "refresh token store not locked";
const NOT_LOADED: &str = "refresh token not loaded since the store was locked";
const ALREADY_SENT: &str = "refresh token already sent";

/// The lock of one store. A clone of the store has its own, so its logins are like those of another process.
#[derive(Default)]
pub(super) struct LockState(Mutex<State>);

#[derive(Default)]
struct State {
    lock: Option<ActiveLock>,
    /// The last lock whose token can be resent, even if the record still names this lock as the user of the token.
    resendable: Option<ClaimId>,
    /// The token that was saved last, and its lock. If the record names this lock again as the user of the token before,
    /// the store has lost the save.
    saved: Option<(ClaimId, RefreshToken)>,
}

struct ActiveLock {
    id: ClaimId,
    /// The record that the next put is compared with: the first that was loaded, or the last that was put. Other
    /// callers of the store can call `load` too, which must not change it.
    compared: Option<ComparedRecord>,
    progress: Progress,
}

/// The record that a put is compared with. `record` is `None` if there is no record.
struct ComparedRecord {
    record: Option<(Revision, RefreshToken)>,
}

impl ComparedRecord {
    fn revision(&self) -> Option<Revision> {
        self.record.as_ref().map(|(revision, _)| *revision)
    }

    fn has(&self, token: &RefreshToken) -> bool {
        self.record.as_ref().is_some_and(|(_, compared)| compared == token)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// No token was sent, or the last one can be resent or has been replaced.
    Unsent,
    /// The record may name this lock as the user of the token, and the token was not sent.
    Announcing,
    /// The token may have been sent.
    Sent,
}

impl LockState {
    pub(super) fn on_granted(&self, id: ClaimId) {
        self.get().lock = Some(ActiveLock { id, compared: None, progress: Progress::Unsent });
    }

    /// Notes the end of the lock. Returns whether the record may name it as the user of the token, although the token
    /// was not sent.
    pub(super) fn on_released(&self, id: ClaimId) -> bool {
        let mut state = self.get();
        let Some(lock) = state.lock.take_if(|lock| lock.id == id) else { return false };
        let was_announced = lock.progress == Progress::Announcing;
        if was_announced {
            state.resendable = Some(id);
        }
        was_announced
    }

    /// Returns the id of the lock.
    pub(super) fn lock_id(&self) -> Option<ClaimId> {
        self.get().lock.as_ref().map(|lock| lock.id)
    }

    /// Notes that a caller has loaded this record under this lock.
    pub(super) fn set_loaded(&self, id: ClaimId, record: Option<(Revision, RefreshToken)>) {
        if let Some(lock) = self.get().lock_of(id) {
            lock.compared.get_or_insert(ComparedRecord { record });
        }
    }

    /// Notes that the login has put this record under this lock.
    pub(super) fn set_put(&self, id: ClaimId, revision: Revision, token: RefreshToken) {
        if let Some(lock) = self.get().lock_of(id) {
            lock.compared = Some(ComparedRecord { record: Some((revision, token)) });
        }
    }

    /// Notes that the token is about to be announced. Returns the id of the lock, and the revision of the token's
    /// record.
    pub(super) fn start_announcing(
        &self,
        token: &RefreshToken,
    ) -> Result<(ClaimId, Option<Revision>), &'static str> {
        let mut state = self.get();
        let lock = state.lock.as_mut().ok_or(NOT_LOCKED)?;
        let compared = lock.compared.as_ref().ok_or(NOT_LOADED)?;
        if !compared.has(token) {
            return Err(REPLACED);
        }
        if lock.progress == Progress::Sent {
            return Err(ALREADY_SENT);
        }
        lock.progress = Progress::Announcing;
        let announced = (lock.id, compared.revision());
        // Its next use can replace it.
        state.saved = None;
        Ok(announced)
    }

    /// Notes that the token was announced, and that the login sends it.
    pub(super) fn set_sent(&self, id: ClaimId) {
        if let Some(lock) = self.get().lock_of(id) {
            lock.progress = Progress::Sent;
        }
    }

    /// Notes that the token can be resent. Returns the lock that the record names as the user of the token.
    pub(super) fn allow_resend(&self) -> Option<ClaimId> {
        let mut state = self.get();
        let lock = state.lock.as_mut().filter(|lock| lock.progress == Progress::Sent)?;
        // As long as the record names the lock, the end of the lock clears that again.
        (lock.progress, lock.compared) = (Progress::Announcing, None);
        let id = lock.id;
        state.resendable = Some(id);
        Some(id)
    }

    /// Notes that there is a next token. From now on, the login must not resend the previous one, even if the next one
    /// cannot be saved. Returns the id of the lock, and the revision of the record to replace.
    pub(super) fn start_saving(&self) -> Option<(ClaimId, Option<Revision>)> {
        let mut state = self.get();
        let lock = state.lock.as_mut()?;
        lock.progress = Progress::Unsent;
        Some((lock.id, lock.compared.as_ref().and_then(ComparedRecord::revision)))
    }

    /// Notes that the record does not name the lock any more.
    pub(super) fn set_cleared(&self, id: ClaimId) {
        if let Some(lock) = self.get().lock_of(id) {
            lock.progress = Progress::Unsent;
        }
    }

    /// Notes that the next token was saved under this lock.
    pub(super) fn set_saved(&self, id: ClaimId, token: RefreshToken) {
        self.get().saved = Some((id, token));
    }

    /// Notes that the record is another one than that of the saved token, and not an earlier one either: it was replaced.
    pub(super) fn forget_saved(&self) {
        self.get().saved = None;
    }

    /// Returns whether this is the token that was saved last.
    pub(super) fn is_saved(&self, token: &RefreshToken) -> bool {
        self.get().saved.as_ref().is_some_and(|(_, saved)| saved == token)
    }

    /// Returns the token that replaced the one that the record names as used by this lock, if this store has saved it.
    pub(super) fn saved_after(&self, id: ClaimId) -> Option<RefreshToken> {
        self.get().saved.as_ref().filter(|(lock, _)| *lock == id).map(|(_, token)| token.clone())
    }

    /// Returns whether a token that the record names as used by this lock can be resent.
    pub(super) fn can_resend(&self, id: ClaimId) -> bool {
        self.get().resendable == Some(id)
    }

    /// Nothing panics under this mutex, so a poisoned one is still valid.
    fn get(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lock_of(&mut self, id: ClaimId) -> Option<&mut ActiveLock> {
        self.lock.as_mut().filter(|lock| lock.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ClaimId = ClaimId([1; 16]);
    const NEXT_ID: ClaimId = ClaimId([2; 16]);

    fn revision(number: u8) -> Revision {
        Revision::from_bytes([number; 16])
    }

    fn record(number: u8) -> Option<(Revision, RefreshToken)> {
        Some((revision(number), token(number)))
    }

    fn token(number: u8) -> RefreshToken {
        RefreshToken::new(format!("r{number}"))
    }

    fn announcing(id: ClaimId) -> LockState {
        let state = LockState::default();
        state.on_granted(id);
        state.set_loaded(id, record(1));
        assert_eq!(state.start_announcing(&token(1)), Ok((id, Some(revision(1)))));
        state
    }

    #[test]
    fn released_token_is_resendable_only_if_it_was_not_sent() {
        let state = LockState::default();
        state.on_granted(ID);
        assert!(!state.on_released(ID) && !state.can_resend(ID));

        let state = announcing(ID);
        assert!(state.on_released(ID) && state.can_resend(ID));

        let state = announcing(ID);
        state.set_sent(ID);
        assert!(!state.on_released(ID) && !state.can_resend(ID));

        let state = announcing(ID);
        state.set_sent(ID);
        state.start_saving();
        assert!(!state.on_released(ID) && !state.can_resend(ID));
    }

    #[test]
    fn sent_token_can_be_resent_once() {
        let state = announcing(ID);
        assert_eq!(state.allow_resend(), None);
        state.set_sent(ID);
        assert_eq!(state.allow_resend(), Some(ID));
        assert!(state.can_resend(ID));
        assert_eq!(state.allow_resend(), None);
        state.set_loaded(ID, record(2));
        assert_eq!(state.start_announcing(&token(2)), Ok((ID, Some(revision(2)))));
    }

    #[test]
    fn later_load_does_not_change_the_compared_record() {
        let state = LockState::default();
        state.on_granted(ID);
        state.set_loaded(ID, record(1));
        state.set_loaded(ID, record(2));
        assert_eq!(state.start_announcing(&token(2)), Err(REPLACED));
        assert_eq!(state.start_announcing(&token(1)), Ok((ID, Some(revision(1)))));
        state.set_put(ID, revision(3), token(1));
        state.set_loaded(ID, record(2));
        assert_eq!(state.start_saving(), Some((ID, Some(revision(3)))));
    }

    #[test]
    fn sent_token_is_not_announced_again() {
        let state = announcing(ID);
        state.set_put(ID, revision(2), token(1));
        state.set_sent(ID);
        assert_eq!(state.start_announcing(&token(1)), Err(ALREADY_SENT));
    }

    #[test]
    fn end_of_a_lost_lock_does_not_end_the_next_one() {
        let state = announcing(ID);
        state.on_granted(NEXT_ID);
        assert!(!state.on_released(ID));
        state.set_put(ID, revision(4), token(4));
        state.set_sent(ID);
        state.set_loaded(NEXT_ID, record(3));
        assert_eq!(state.start_announcing(&token(3)), Ok((NEXT_ID, Some(revision(3)))));
        assert!(state.on_released(NEXT_ID));
        assert_eq!(state.start_saving(), None);
    }
}
