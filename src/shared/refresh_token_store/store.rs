//! [`SharedRefreshTokenStore`]: a [`RefreshTokenStore`] that processes share.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{content::Content, lock::LockHandle, lock_state::LockState, record::SealedRecord};
use crate::{
    BoxError,
    oauth2::{RefreshToken, RefreshTokenStore},
    shared::{
        Revision, SealingKeys, StoreFuture, TokenIdentity, TokenStore, identity::Purpose,
        settings::MIN_CLAIM_TIME_TO_LIVE,
    },
};

/// How long a load outside of a login waits for a login that is under way.
const MAX_LOAD_WAIT: Duration = Duration::from_secs(30);
const LOCK_TIME_TO_LIVE: Duration = Duration::from_secs(5);

/// Stores a refresh token in a [`TokenStore`], so that processes share it, or the next start of a program finds it.
///
/// After a person has [logged in with a browser or a device](crate::oauth2::native_app), a program
/// [saves](RefreshTokenStore::save) the refresh token here. Later logins, of any process, use
/// [`Grant::refresh_token_store`](crate::oauth2::Grant::refresh_token_store) with this store. A `save` outside of a
/// login, and so without the lock, replaces any token.
///
#[cfg_attr(feature = "shared-file", doc = "```")]
#[cfg_attr(not(feature = "shared-file"), doc = "```ignore")]
/// use tower_auth_refresh::{
///     oauth2::{Grant, RefreshToken, RefreshTokenStore},
///     shared::{FileTokenStore, SealingKey, SealingKeys, SharedRefreshTokenStore, TokenIdentity},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// # let directory = std::env::temp_dir().join(format!("refresh-token-{}", std::process::id()));
/// # let key = [7; 32];
/// let identity = TokenIdentity::new("https://login.example.com", "orders-cli", "refresh_token")
///     .parameter("user", "alice");
/// let keys = SealingKeys::new(SealingKey::new(key));
/// let store = SharedRefreshTokenStore::new(FileTokenStore::new(&directory), identity, keys);
///
/// // After a person has logged in.
/// store.save(RefreshToken::new("tGzv3JOkF0XG5Qx2TlKWIA")).await?;
///
/// // In every process.
/// assert_eq!(store.load().await?.unwrap().secret(), "tGzv3JOkF0XG5Qx2TlKWIA");
/// let grant = Grant::refresh_token_store(store);
/// # let _ = grant;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
///
/// # Tokens that rotate
///
/// A server that replaces the refresh token at each use can revoke all tokens of the session if it receives one token
/// twice (RFC 9700, section 4.14.2). Two rules prevent that:
///
/// - A login locks the store. The lock is a claim on a key of its own in the [`TokenStore`], which a task extends until
///   the end of the login.
/// - Before a login sends the token, it notes in the record that the token is *in use*, by compare-and-set. So a
///   process that was frozen, and has lost its lock, does not send a token that another process has sent.
///
/// [`save`](RefreshTokenStore::save) replaces the record only if no other process has replaced it since. It does not
/// need the lock, because the next token must not be lost.
///
/// If the server responds without a next token, or the request was not sent, the login clears the note before it ends.
/// The token can then be resent.
///
/// # Unknown outcomes
///
/// A token stays in use if its process dies between the request and `save`, or if the response is incomplete, because
/// of a timeout for example. The next token may be lost. By default, no process resends a token that is in use, and
/// [`load`](RefreshTokenStore::load) returns `None`: a person has to log in.
/// [`resend_interrupted`](Self::resend_interrupted) changes that.
///
/// While a login of another process is under way, its token is in use too. A [`load`](RefreshTokenStore::load) outside of a
/// login then waits for the end of that login, and fails after 30 seconds.
///
/// # Errors
///
/// - The error of the [`TokenStore`], unchanged.
/// - The record cannot be opened, because it is damaged, or its sealing key is unknown. `save` without the lock
///   replaces it.
/// - Another process has replaced the token.
/// - `before_send` was called without the lock.
///
/// A login treats each of them as transient.
///
/// # Time limits
///
/// A login limits each call. Outside of a login, [`save`](RefreshTokenStore::save) and
/// [`lock`](RefreshTokenStore::lock) wait for the [`TokenStore`] and for other processes without a limit. Use
/// [`tokio::time::timeout`] there.
///
/// # Cancellation
///
/// Each future can be dropped at any time, and so can the guard of the lock. A tokio task then releases the lock. If
/// the runtime shuts down first, the claim ends after its [time to live](Self::lock_time_to_live).
///
/// # Clones
///
/// A clone has a lock of its own, like another process. So a program can save the token of a person's new login with a
/// clone at any time. A login that is running does not overwrite it.
pub struct SharedRefreshTokenStore {
    record: SealedRecord,
    lock: LockHandle,
    resend_interrupted: bool,
}

impl SharedRefreshTokenStore {
    /// Creates a store for the refresh token of this identity, sealed with these keys.
    ///
    /// The identity is that of the session. It does not contain parameters that can differ between logins with one
    /// refresh token, such as scopes.
    pub fn new(store: impl TokenStore, identity: TokenIdentity, keys: SealingKeys) -> Self {
        Self::with(Arc::new(store), &identity, Some(keys))
    }

    /// Creates a store with the refresh token as plaintext. Everyone who can read the store can use the token.
    ///
    /// It is for programs that have no better place for a key than for the token, such as a command line tool with a
    /// [`FileTokenStore`](crate::shared::FileTokenStore) in the person's home directory.
    pub fn danger_unsealed(store: impl TokenStore, identity: TokenIdentity) -> Self {
        Self::with(Arc::new(store), &identity, None)
    }

    fn with(
        store: Arc<dyn TokenStore>,
        identity: &TokenIdentity,
        keys: Option<SealingKeys>,
    ) -> Self {
        let lock = LockHandle {
            store: store.clone(),
            key: identity.record_key(Purpose::RefreshTokenLock),
            time_to_live: LOCK_TIME_TO_LIVE,
            state: Arc::new(LockState::default()),
        };
        let key = identity.record_key(Purpose::RefreshToken);
        Self { record: SealedRecord { store, key, keys }, lock, resend_interrupted: false }
    }

    /// Sets the time after which the lock of a process that has died ends. Defaults to 5 seconds, and is at least 100
    /// milliseconds.
    #[must_use]
    pub fn lock_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.lock.time_to_live = time_to_live.max(MIN_CLAIM_TIME_TO_LIVE);
        self
    }

    /// Sets whether a login resends a token whose last request has an unknown outcome. Defaults to `false`.
    ///
    /// Enable this for a server that does not rotate refresh tokens, or that accepts a replaced token for a while. Any
    /// other server can then revoke the session of all processes, including the access tokens that they use.
    #[must_use]
    pub fn resend_interrupted(mut self, enabled: bool) -> Self {
        self.resend_interrupted = enabled;
        self
    }
}

impl SharedRefreshTokenStore {
    /// Loads the record. If the store has lost the last save of this process in a failover, returns the saved token.
    async fn load_latest(&self) -> Result<Option<(Revision, Content)>, BoxError> {
        let state = &self.lock.state;
        let loaded = self.record.load().await?;
        let lost = loaded.as_ref().and_then(|(_, content)| state.saved_after(content.in_use_by?));
        Ok(match (loaded, lost) {
            (Some((revision, _)), Some(token)) => {
                Some((revision, Content { token, in_use_by: None }))
            }
            (loaded, _) => {
                if !loaded.as_ref().is_some_and(|(_, content)| state.is_saved(&content.token)) {
                    state.forget_saved();
                }
                loaded
            }
        })
    }

    fn can_send(&self, content: &Content) -> bool {
        let state = &self.lock.state;
        self.resend_interrupted || content.in_use_by.is_none_or(|id| state.can_resend(id))
    }

    fn sendable(&self, loaded: Option<(Revision, Content)>) -> Option<RefreshToken> {
        loaded.filter(|(_, content)| self.can_send(content)).map(|(_, content)| content.token)
    }
}

impl Clone for SharedRefreshTokenStore {
    fn clone(&self) -> Self {
        let Self { record, lock, resend_interrupted } = self;
        let lock = LockHandle { state: Arc::default(), ..lock.clone() };
        Self { record: record.clone(), lock, resend_interrupted: *resend_interrupted }
    }
}

impl RefreshTokenStore for SharedRefreshTokenStore {
    fn lock(&self) -> StoreFuture<'_, Box<dyn Send>> {
        Box::pin(async { Ok(Box::new(self.lock.acquire(self.record.clone()).await?) as _) })
    }

    fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
        Box::pin(async {
            let id = self.lock.state.lock_id();
            let loaded = self.load_latest().await?;
            if let Some(id) = id {
                let record =
                    loaded.as_ref().map(|(revision, content)| (*revision, content.token.clone()));
                self.lock.state.set_loaded(id, record);
            } else if loaded.as_ref().is_some_and(|(_, content)| !self.can_send(content)) {
                // A login that is under way ends first. Then the record shows whether its token was replaced.
                let lock = LockHandle { state: Arc::default(), ..self.lock.clone() };
                match timeout(MAX_LOAD_WAIT, lock.acquire(self.record.clone())).await {
                    Ok(Ok(_lock)) => return Ok(self.sendable(self.load_latest().await?)),
                    // A store that is read-only.
                    Ok(Err(_)) => {}
                    Err(_) => return Err("refresh token in use by another process".into()),
                }
            }
            Ok(self.sendable(loaded))
        })
    }

    fn before_send(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
        Box::pin(async {
            let state = &self.lock.state;
            let (id, expected) = state.start_announcing(&token)?;
            let content = Content { token, in_use_by: Some(id) };
            let revision = self.record.replace(expected, &content).await?;
            state.set_put(id, revision, content.token);
            state.set_sent(id);
            Ok(())
        })
    }

    fn after_send(&self, _: RefreshToken) -> StoreFuture<'_, ()> {
        Box::pin(async {
            if let Some(id) = self.lock.state.allow_resend() {
                self.record.clear_in_use(id).await?;
                self.lock.state.set_cleared(id);
            }
            Ok(())
        })
    }

    fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
        Box::pin(async {
            let content = Content { token, in_use_by: None };
            let Some((id, expected)) = self.lock.state.start_saving() else {
                self.lock.state.forget_saved();
                return self.record.overwrite(&content).await;
            };
            let revision = self.record.replace(expected, &content).await?;
            self.lock.state.set_put(id, revision, content.token.clone());
            self.lock.state.set_saved(id, content.token);
            Ok(())
        })
    }
}

impl fmt::Debug for SharedRefreshTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRefreshTokenStore")
            .field("key", &format_args!("{}", self.record.key))
            .field("lock_time_to_live", &self.lock.time_to_live)
            .field("resend_interrupted", &self.resend_interrupted)
            .finish_non_exhaustive()
    }
}
