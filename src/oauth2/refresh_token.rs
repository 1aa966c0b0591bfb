//! [`RefreshToken`] and where it is kept while it rotates.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use zeroize::Zeroizing;

use crate::BoxError;

/// A refresh token (RFC 6749, section 1.5). Wiped from memory on drop; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(Zeroizing<String>);

impl RefreshToken {
    /// A refresh token. An owned `String` is taken over, not copied.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// The secret, for whoever stores it.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").finish_non_exhaustive()
    }
}

/// What a [`RefreshTokenStore`] does.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// Keeps a refresh token that rotates, so that it outlives the process, or is shared by several.
///
/// A login [locks](Self::lock), loads the token, shows it to the server, saves the next if there is one, and unlocks. So what
/// another process has put there is used. The next is saved before the access token that came with it is used; where that
/// fails the login fails, and the next one begins with saving it, unless somebody has put another there meanwhile. A token that
/// was answered with another is not sent again by this process, though the store should still have it (the last 64 are
/// known). If the server refuses one (`invalid_grant`) the store is asked once more, for a process that did not lock.
///
/// Errors are transient. Their text must not have the secret. What takes longer than
/// [`OAuth2Login::timeout`](super::OAuth2Login::timeout) has failed.
pub trait RefreshTokenStore: Send + Sync + 'static {
    /// Keeps other processes from using the token until what this returns is dropped.
    ///
    /// Does nothing unless it is implemented, and then no two processes may log in at the same time: a server that sees one
    /// token twice takes back all of them.
    fn lock(&self) -> StoreFuture<'_, Box<dyn Send>> {
        Box::pin(ready(Ok(Box::new(()) as _)))
    }

    /// The newest token; `None`: there is none (any more), and nobody can log in.
    fn load(&self) -> StoreFuture<'_, Option<RefreshToken>>;

    /// Keeps this one instead.
    fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()>;
}

/// Keeps it for as long as the process lives.
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
