//! [`LockState`]: what a process knows while it has the lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::shared::{ClaimId, Revision};

#[derive(Default)]
pub(super) struct LockState(Mutex<State>);

#[derive(Default)]
struct State {
    lock: Option<Lock>,
    /// The last lock whose token was sent and not replaced, and whose login has ended. The token can be sent again, even if
    /// the store still has the mark of this lock.
    settled: Option<ClaimId>,
}

struct Lock {
    id: ClaimId,
    /// The revision that this process has loaded or put last.
    known: Option<Revision>,
    /// The token has been sent, and there is no next one yet.
    is_sent: bool,
}

impl LockState {
    pub(super) fn begin(&self, id: ClaimId) {
        self.get().lock = Some(Lock { id, known: None, is_sent: false });
    }

    /// Returns whether the mark must be removed from the store.
    pub(super) fn end(&self, id: ClaimId) -> bool {
        let mut state = self.get();
        let Some(lock) = state.lock.take_if(|lock| lock.id == id) else { return false };
        if lock.is_sent {
            state.settled = Some(id);
        }
        lock.is_sent
    }

    /// This process has loaded or put this revision.
    pub(super) fn set_known(&self, revision: Option<Revision>) {
        if let Some(lock) = &mut self.get().lock {
            lock.known = revision;
        }
    }

    /// The token is about to be sent. Returns the lock and the revision of the token's record.
    pub(super) fn start_sending(&self) -> Option<(ClaimId, Option<Revision>)> {
        self.set_sent(true)
    }

    /// There is a next token. From now on, the token that was sent must not be sent again, even if the next one cannot be
    /// saved.
    pub(super) fn start_saving(&self) -> Option<(ClaimId, Option<Revision>)> {
        self.set_sent(false)
    }

    /// Returns whether the mark is that of this process, and the token can be sent.
    pub(super) fn is_own(&self, id: ClaimId) -> bool {
        let state = self.get();
        state.settled == Some(id) || state.lock.as_ref().is_some_and(|lock| lock.id == id)
    }

    fn set_sent(&self, is_sent: bool) -> Option<(ClaimId, Option<Revision>)> {
        let mut state = self.get();
        let lock = state.lock.as_mut()?;
        lock.is_sent = is_sent;
        Some((lock.id, lock.known))
    }

    /// Nothing panics under this lock, so a poisoned one is still valid.
    fn get(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ClaimId = ClaimId([1; 16]);
    const NEXT_ID: ClaimId = ClaimId([2; 16]);

    #[test]
    fn mark_is_removed_only_if_there_is_no_next_token() {
        let state = LockState::default();
        state.begin(ID);
        assert!(!state.end(ID));
        assert!(!state.is_own(ID));

        state.begin(ID);
        state.start_sending();
        assert!(state.end(ID));
        assert!(state.is_own(ID));

        state.begin(NEXT_ID);
        state.start_sending();
        state.start_saving();
        assert!(!state.end(NEXT_ID));
        assert!(!state.is_own(NEXT_ID));
    }

    #[test]
    fn end_of_a_lost_lock_does_not_end_the_next_one() {
        let state = LockState::default();
        state.begin(ID);
        state.start_sending();
        state.begin(NEXT_ID);
        assert!(!state.end(ID));
        state.set_known(Some(Revision::from_bytes([3; 16])));
        assert_eq!(state.start_sending(), Some((NEXT_ID, Some(Revision::from_bytes([3; 16])))));
        assert!(state.end(NEXT_ID));
        assert_eq!(state.start_saving(), None);
    }
}
