//! [`Rotation`]: which refresh token to use, so that the newest is never lost and none is used twice.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::timeout;

use super::{RefreshToken, RefreshTokenStore, StoreFuture, error::Kind};

/// How many spent tokens are known.
const SPENT: usize = 64;

/// What this process knows of a refresh token that rotates.
#[derive(Default)]
pub(super) struct Rotation {
    /// The newest that came to this process, as long as nobody else has put another in the store.
    newest: Option<RefreshToken>,
    /// Whether it is still to be saved.
    unsaved: bool,
    /// Those that were answered with another, oldest first, each as a hash.
    spent: VecDeque<u64>,
    hasher: RandomState,
}

impl Rotation {
    /// The server has answered this one with another.
    pub(super) fn rotate(&mut self, spent: &RefreshToken, next: RefreshToken) {
        self.spent.push_back(self.hasher.hash_one(spent.secret()));
        if self.spent.len() > SPENT {
            self.spent.pop_front();
        }
        self.newest = Some(next);
        self.unsaved = true;
    }

    fn is_spent(&self, token: &RefreshToken) -> bool {
        self.spent.contains(&self.hasher.hash_one(token.secret()))
    }

    /// The token to use: the store's, unless that was answered with another. A newest that is not saved yet is saved first,
    /// if nobody has put another there.
    pub(super) async fn load(&mut self, store: &TimedStore<'_>) -> Result<RefreshToken, Kind> {
        let stored = store.load().await?;
        let lags = match &stored {
            Some(stored) => self.is_spent(stored) || self.newest.as_ref() == Some(stored),
            // Taken away, unless it never got there.
            None => self.unsaved,
        };
        if !lags {
            (self.newest, self.unsaved) = (None, false);
        }
        // One that has gone back to a spent token must not be found with it by the next process.
        self.unsaved |= self.newest.is_some() && self.newest != stored;
        self.save(store).await?;
        self.newest.clone().or(stored).ok_or(Kind::MissingRefreshToken)
    }

    /// Keeps what came last, if it is not kept yet.
    pub(super) async fn save(&mut self, store: &TimedStore<'_>) -> Result<(), Kind> {
        if let Some(newest) = self.newest.as_ref().filter(|_| self.unsaved) {
            store.save(newest.clone()).await?;
            self.unsaved = false;
        }
        Ok(())
    }
}

/// A store that may not keep the other logins waiting for ever.
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

    async fn save(&self, token: RefreshToken) -> Result<(), Kind> {
        self.limited(self.store.save(token)).await
    }

    async fn limited<T>(&self, doing: StoreFuture<'_, T>) -> Result<T, Kind> {
        let late = |_| Err(format!("it took longer than {:?}", self.limit).into());
        timeout(self.limit, doing).await.unwrap_or_else(late).map_err(Kind::Store)
    }
}
