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
/// Before each grant the token is loaded, so that one which another process has put there is used. A new one is saved before
/// the access token that came with it is used; where that fails, the login fails and the next begins with saving it.
/// A refresh token that was answered with another is not sent again, though the store should still have it. If the server
/// refuses one (`invalid_grant`) the store is asked once more: another process may have been quicker.
///
/// Errors are transient. Their text must not have the secret.
pub trait RefreshTokenStore: Send + Sync + 'static {
    /// The newest token; `None`: there is none, and nobody can log in.
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
