//! [`RotationState`]: which refresh token to send, so that the latest is never lost and none is sent twice.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::timeout;

use super::{RefreshToken, RefreshTokenStore, error_kind::Kind};
use crate::store_future::StoreFuture;

/// How many used tokens are remembered.
const MAX_USED: usize = 64;

/// What this process knows of a refresh token that rotates.
#[derive(Default)]
pub(super) struct RotationState {
    /// The latest token that this process has received, until the store has another.
    latest: Option<RefreshToken>,
    /// The latest token is not saved yet.
    dirty: bool,
    /// The hashes of the tokens that have been replaced, oldest first.
    used: VecDeque<u64>,
    /// The hash of the token that was sent last, unless its outcome is known.
    in_flight: Option<u64>,
    hasher: RandomState,
}

impl RotationState {
    /// The server has replaced a token.
    pub(super) fn rotate(&mut self, used: &RefreshToken, next: RefreshToken) {
        self.used.push_back(self.hasher.hash_one(used.secret()));
        if self.used.len() > MAX_USED {
            self.used.pop_front();
        }
        self.latest = Some(next);
        self.dirty = true;
        self.in_flight = None;
    }

    /// The token is about to be sent.
    pub(super) fn start_sending(&mut self, token: &RefreshToken) {
        self.in_flight = Some(self.hasher.hash_one(token.secret()));
    }

    /// The token that was sent can be sent again.
    pub(super) fn allow_resend(&mut self) {
        self.in_flight = None;
    }

    fn is_used(&self, token: &RefreshToken) -> bool {
        self.used.contains(&self.hasher.hash_one(token.secret()))
    }

    /// Returns the token to send: the store's, unless it has been replaced. Saves the latest token first, unless the store
    /// has another one.
    pub(super) async fn load(&mut self, store: &TimedStore<'_>) -> Result<RefreshToken, Kind> {
        let stored = store.load().await?;
        let store_lags = match &stored {
            Some(stored) => self.is_used(stored) || self.latest.as_ref() == Some(stored),
            // The token has been removed, unless it was never saved.
            None => self.dirty,
        };
        if !store_lags {
            (self.latest, self.dirty) = (None, false);
        }
        // The store has gone back to a token before the latest, which the server may have replaced. Only the store can allow
        // to send such a token again, and it does not contain it.
        let latest = self.latest.as_ref().filter(|_| self.latest != stored && !self.dirty);
        if latest
            .is_some_and(|latest| self.in_flight == Some(self.hasher.hash_one(latest.secret())))
        {
            return Err(Kind::MissingRefreshToken);
        }
        // A store that has gone back to a used token would pass it to the next process.
        self.dirty |= self.latest.is_some() && self.latest != stored;
        self.save(store).await?;
        self.latest.clone().or(stored).ok_or(Kind::MissingRefreshToken)
    }

    /// Saves the latest token, if it is not saved yet.
    pub(super) async fn save(&mut self, store: &TimedStore<'_>) -> Result<(), Kind> {
        if let Some(latest) = self.latest.as_ref().filter(|_| self.dirty) {
            store.save(latest.clone()).await?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// A store with a time limit for each step, so that it cannot block later logins.
pub(super) struct TimedStore<'a> {
    pub(super) store: &'a dyn RefreshTokenStore,
    pub(super) limit: Duration,
}

impl TimedStore<'_> {
    pub(super) async fn lock(&self) -> Result<Box<dyn Send>, Kind> {
        self.limited(self.store.lock()).await
    }

    async fn load(&self) -> Result<Option<RefreshToken>, Kind> {
        self.limited(self.store.load()).await
    }

    pub(super) async fn before_send(&self, token: RefreshToken) -> Result<(), Kind> {
        self.limited(self.store.before_send(token)).await
    }

    pub(super) async fn after_send(&self, token: RefreshToken) -> Result<(), Kind> {
        self.limited(self.store.after_send(token)).await
    }

    pub(super) async fn save(&self, token: RefreshToken) -> Result<(), Kind> {
        self.limited(self.store.save(token)).await
    }

    async fn limited<T>(&self, step: StoreFuture<'_, T>) -> Result<T, Kind> {
        let elapsed = |_| Err(format!("timed out after {:?}", self.limit).into());
        timeout(self.limit, step).await.unwrap_or_else(elapsed).map_err(Kind::Store)
    }
}
