//! [`RefreshToken`], and [`RefreshTokenStore`]: where it is stored while it rotates.

use std::{
    fmt,
    future::ready,
    sync::{Mutex, PoisonError},
};

use zeroize::Zeroizing;

use crate::store_future::StoreFuture;

/// A refresh token (RFC 6749, section 1.5). It is wiped from memory on drop. `Debug` does not show it.
///
/// ```
/// use tower_auth_refresh::oauth2::RefreshToken;
///
/// let token = RefreshToken::new("tGzv3JOkF0XG5Qx2TlKWIA");
/// assert_eq!(token.secret(), "tGzv3JOkF0XG5Qx2TlKWIA");
/// assert_eq!(format!("{token:?}"), "RefreshToken { .. }");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(Zeroizing<String>);

impl RefreshToken {
    /// Creates a refresh token. An owned `String` is moved, not copied.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// Returns the secret, to store it. The caller must keep it secret.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").finish_non_exhaustive()
    }
}

/// Stores a refresh token that rotates, so that the token outlives the process, or processes share it.
///
/// A login does the following:
///
/// 1. It [locks](Self::lock) the store until its end, and [loads](Self::load) the token, which another process may have
///    saved.
/// 2. It [announces](Self::before_send) the token, and sends it.
/// 3. If the server has issued a next token, it [saves](Self::save) that before it uses the access token.
/// 4. If the server has not replaced the token, it [notifies](Self::after_send) the store. It does so only in this
///    case.
/// 5. If the server rejects the token (`invalid_grant`), it loads the token a second time, because a process without
///    the lock may have rotated it.
///
/// If a call of the store fails, the login fails with a transient error. If the server has responded with an error, the
/// login returns that error. After a failed save, the next login saves that token first, unless the store has another
/// one by then. The process does not send a token that it has replaced, even if the store returns it. It remembers the
/// last 64.
///
/// The text of an error must not contain the secret. The time limit of each call is the
/// [timeout](super::OAuth2Login::transport_config) of the login. It does not apply to a call outside of a login.
///
/// ```
/// use std::{future::ready, sync::Mutex};
/// use tower_auth_refresh::oauth2::{Grant, RefreshToken, RefreshTokenStore, StoreFuture};
///
/// struct InMemory(Mutex<Option<RefreshToken>>);
///
/// impl RefreshTokenStore for InMemory {
///     fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
///         Box::pin(ready(Ok(self.0.lock().unwrap().clone())))
///     }
///
///     fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
///         *self.0.lock().unwrap() = Some(token);
///         Box::pin(ready(Ok(())))
///     }
/// }
///
/// let store = InMemory(Mutex::new(Some(RefreshToken::new("tGzv3JOkF0XG5Qx2TlKWIA"))));
/// let grant = Grant::refresh_token_store(store);
/// ```
#[doc(alias = "TokenStorage")]
pub trait RefreshTokenStore: Send + Sync + 'static {
    /// Locks the store against other processes until the returned guard is dropped.
    ///
    /// Does nothing by default. Two processes must then not log in at the same time, because a server that receives one
    /// token twice can revoke all tokens of the session (RFC 9700, section 4.14.2).
    fn lock(&self) -> StoreFuture<'_, Box<dyn Send>> {
        Box::pin(ready(Ok(Box::new(()) as _)))
    }

    /// Returns the latest token, or `None` if a person has to log in.
    fn load(&self) -> StoreFuture<'_, Option<RefreshToken>>;

    /// Records that the token is about to be sent. The login sends it only if this succeeds.
    ///
    /// Does nothing by default. A store can note that the token is in use, until the next [`save`](Self::save) or
    /// [`after_send`](Self::after_send). If neither follows, the server may have replaced the token. The note shows
    /// that to the next process.
    ///
    /// The login calls it once, after discovery and after the client authentication is ready.
    fn before_send(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
        let _ = token;
        Box::pin(ready(Ok(())))
    }

    /// Records that the server has not replaced the announced token, which can be resent. The store is still locked.
    ///
    /// Does nothing by default. The login calls it, and waits for it, in these cases:
    ///
    /// - The server has responded without a next token: it does not rotate tokens, or has rejected the request.
    /// - The request was not sent, because there was no connection.
    ///
    /// The login does not call it in these cases:
    ///
    /// - The server has replaced the token.
    /// - The outcome is unknown, because the response was incomplete or the process has ended.
    fn after_send(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
        let _ = token;
        Box::pin(ready(Ok(())))
    }

    /// Replaces the token.
    fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()>;
}

/// Keeps the token in memory.
pub(super) struct InMemory(Mutex<RefreshToken>);

impl InMemory {
    pub(super) fn new(token: RefreshToken) -> Self {
        Self(Mutex::new(token))
    }
}

impl RefreshTokenStore for InMemory {
    fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
        Box::pin(ready(Ok(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))))
    }

    fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
        Box::pin(ready(Ok(())))
    }
}
