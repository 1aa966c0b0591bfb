//! [`Rotation`]: which refresh token to use, so that the newest is never lost and none is used twice.

use std::time::Duration;

use tokio::time::timeout;

use super::{RefreshToken, RefreshTokenStore, StoreFuture, error::Kind};

/// What this process knows of a refresh token that rotates.
#[derive(Default)]
pub(super) struct Rotation {
    /// The newest that came to this process, as long as nobody else has put another in the store.
    newest: Option<RefreshToken>,
    /// Whether it is still to be saved.
    unsaved: bool,
    /// What the store had when it was last believed.
    stored: Option<RefreshToken>,
}

impl Rotation {
    /// The server has answered with another token.
    pub(super) fn rotate(&mut self, next: RefreshToken) {
        self.newest = Some(next);
        self.unsaved = true;
    }

    /// Keeps what came last, if it is not kept yet.
    pub(super) async fn save(&mut self, store: &InTime<'_>) -> Result<(), Kind> {
        if let Some(newest) = self.newest.as_ref().filter(|_| self.unsaved) {
            store.save(newest.clone()).await?;
            self.unsaved = false;
        }
        Ok(())
    }

    /// The token to use: the store's, unless it still has the one that was answered with another.
    pub(super) async fn load(&mut self, store: &InTime<'_>) -> Result<RefreshToken, Kind> {
        let stored = store.load().await?;
        let same = stored.is_none() || stored == self.stored;
        if let Some(newest) = self.newest.take().filter(|_| same) {
            return Ok(self.newest.insert(newest).clone());
        }
        self.stored = stored.clone();
        stored.ok_or(Kind::NoRefreshToken)
    }
}

/// A store that may not keep the other logins waiting for ever.
pub(super) struct InTime<'a> {
    pub(super) store: &'a dyn RefreshTokenStore,
    pub(super) limit: Duration,
}

impl InTime<'_> {
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
