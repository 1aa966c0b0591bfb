//! [`AuthRefresher`]: the handle of one identity's token. `builder` creates it, and `weak` has `downgrade`.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;

use super::{
    cached_token::CachedToken,
    current::{Epoch, Loaded},
    shared::Shared,
    status::Status,
    status_receiver::StatusReceiver,
    token_id::TokenId,
    wait::TokenFuture,
};
use crate::{
    login::LoginError,
    telemetry::Telemetry,
    token::{AccessToken, Publication},
};

/// A handle to the token of one identity. Cloning is cheap; all clones share one token and one worker.
///
/// Nothing happens before the first use. The first use starts the worker: a task on the caller's runtime, or on the
/// [runtime](crate::AuthRefresherBuilder::runtime) that is set. The worker logs in, publishes the token, sleeps until
/// the refresh is due, and logs in for the next token.
///
/// - The current token is used until it expires, even if logins fail. A failed login is retried with a growing pause.
///   No failure is final.
/// - Dropping the last handle ends the worker and its login.
/// - If the worker's runtime shuts down, the next use starts a worker on its own runtime. A token that is still valid
///   stays in use.
/// - On a current-thread runtime each use checks the expiry, because the worker runs only inside `block_on`.
/// - A call on another runtime replaces a worker that is 100 ms late. It cannot replace a worker during a login. In
///   that case callers wait, and the [error](LoginError::is_undriven) names the cause.
///
/// A login service that stores a handle of its refresher keeps the refresher alive until [`shutdown`](Self::shutdown).
///
/// ```
/// use std::time::Duration;
/// use tower::service_fn;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let login = service_fn(|request: LoginRequest| async move {
///     assert_eq!(request.attempt, 1);
///     Ok::<_, BoxError>(AccessToken::bearer("abc")?.with_expires_in(Duration::from_secs(3600)))
/// });
/// let refresher = AuthRefresher::builder(login)
///     .refresh_before_expiry(Duration::from_secs(300))
///     .login_timeout(Duration::from_secs(30))
///     .build()?;
///
/// refresher.ready().await?; // optional: fail at start-up
/// assert_eq!(refresher.status().generation, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// A call that has to wait panics on a runtime without a time driver, as all of tokio's timers do
/// ([`enable_time`](tokio::runtime::Builder::enable_time)).
#[doc(alias("TokenSource", "TokenProvider", "CredentialProvider"))]
#[derive(Clone)]
pub struct AuthRefresher {
    shared: Arc<Shared>,
}

impl AuthRefresher {
    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns a token for a caller.
    fn published(&self, token: &CachedToken) -> AccessToken {
        token.token.published_as(Publication {
            refresher: self.shared.id.number(),
            generation: token.generation,
        })
    }

    /// Returns the [name](crate::AuthRefresherBuilder::name), if one is set.
    pub fn name(&self) -> Option<&str> {
        self.telemetry().name()
    }

    /// Waits until there is a token. Use it to fail at start-up and not at the first request.
    ///
    /// Dropping the future does not stop the login.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token). An error is not final: a later call can succeed.
    pub async fn ready(&self) -> Result<(), LoginError> {
        self.shared.token().await.map(drop)
    }

    /// Returns the current token, or waits for a login.
    ///
    /// Dropping the future does not stop the login.
    ///
    /// # Errors
    ///
    /// - The login failed, or the last login failed and the pause after it is not over.
    /// - The wait exceeded [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout), 10 seconds by default.
    /// - The refresher has been shut down.
    /// - The call runs outside a tokio runtime and there is no token.
    /// - The login service itself calls this, and there is no token.
    /// - The caller's runtime aborted three workers that this call started.
    pub async fn token(&self) -> Result<AccessToken, LoginError> {
        Ok(self.published(&*self.shared.token().await?))
    }

    /// Returns a token that is valid for at least `min`, if possible. If the current one expires sooner, refreshes it
    /// first.
    ///
    /// Use it for a connection, a stream or a tool that uses the token for longer than one request. Returns the current
    /// token unchanged if less than a quarter of its lifetime has passed. Does the same if the refresh fails or exceeds
    /// [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout).
    ///
    /// Dropping the future does not stop the login.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, login_fn};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?.with_expires_in(Duration::from_secs(3600))) });
    /// # let refresher = AuthRefresher::new(login);
    /// // For a stream that lasts up to half an hour.
    /// let token = refresher.token_valid_for(Duration::from_secs(1800)).await?;
    /// assert_eq!(token.secret(), "abc");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn token_valid_for(&self, min: Duration) -> Result<AccessToken, LoginError> {
        Ok(self.published(&*self.shared.token_valid_for(min).await?))
    }

    /// Refreshes the token now, or joins the login under way, and waits for its end.
    ///
    /// During the login, requests use the current token. If the issuer returns the same token and it is still valid,
    /// the refresh succeeds with it. Dropping the future does not stop the login.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token), but the time limit of the wait is the sum of
    /// [`login_timeout`](crate::AuthRefresherBuilder::login_timeout) and
    /// [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout). The current token stays in use after an error.
    pub async fn refresh(&self) -> Result<Refreshed, LoginError> {
        let token = self.shared.refresh().await?;
        let next_refresh = token.until_refresh(self.shared.now());
        Ok(Refreshed { token: self.published(&token), next_refresh })
    }

    /// Reports that a server has rejected a token of this refresher. Use it where no layer sees the response.
    ///
    /// Returns whether a retry can help: a newer token exists, or a login for it is due. [`token`](Self::token) then
    /// returns it, or waits for it. After [`shutdown`](Self::shutdown), no retry can help.
    ///
    /// `challenge` is the `WWW-Authenticate` header of the rejection (RFC 9110, section 11.6.1), if there was one. The
    /// login service receives it.
    ///
    /// The same rules apply as in the layer. The rejection has no effect if:
    ///
    /// - the token has been replaced already,
    /// - the token is [too new](crate::AuthRefresherBuilder::min_rejection_age), by default less than a second old,
    /// - too many rejections [have counted](crate::AuthRefresherBuilder::rejection_limit), by default 6 in a minute,
    /// - the token does not come from this refresher.
    ///
    /// Without a worker, no login starts until the next call.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, login_fn};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let login = login_fn(|request| async move { Ok(AccessToken::bearer(format!("{:?}", request.reason).replace(' ', ""))?) });
    /// # let refresher = AuthRefresher::builder(login).min_rejection_age(Duration::ZERO).build()?;
    /// let token = refresher.token().await?;
    /// # async fn connect(token: &AccessToken) -> bool { token.generation() == Some(2) }
    /// if !connect(&token).await && refresher.reject(&token, None) {
    ///     assert!(connect(&refresher.token().await?).await);
    /// }
    /// # assert_eq!(refresher.status().generation, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reject(&self, token: &AccessToken, challenge: Option<HeaderValue>) -> bool {
        token.publication().is_some_and(|publication| {
            publication.refresher == self.shared.id.number()
                && self
                    .shared
                    .reject(TokenId::new(self.shared.id, publication.generation), challenge)
        })
    }

    /// Discards the current token and starts a login for another. Does nothing if there is no token.
    ///
    /// To report a rejection, use [`reject`](Self::reject): it does not discard a newer token than the rejected one.
    ///
    /// The result of a login that is under way is discarded too, because it may be the same token. Without a worker, no
    /// login starts until the next call. An [`AuthRefresh`](crate::AuthRefresh) service that has cached the token drops
    /// it at its next call.
    pub fn invalidate(&self) {
        self.shared.invalidate();
    }

    /// Returns a receiver that follows the status.
    pub fn subscribe(&self) -> StatusReceiver {
        StatusReceiver::new(&self.shared)
    }

    /// Returns the status at this moment.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Ends the worker and its login permanently. Later calls that need a token fail.
    ///
    /// Does not wait: the task ends when its runtime polls it next. An [`AuthRefresh`](crate::AuthRefresh) service that
    /// has cached the token drops it at its next call.
    pub fn shutdown(&self) {
        self.shared.shut_down();
    }
}

/// What the layer needs.
impl AuthRefresher {
    #[inline]
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.shared.settings.telemetry
    }

    /// Reads the cell. The result must be dropped before the next await.
    #[inline]
    pub(crate) fn current(&self) -> Loaded {
        self.shared.current.load()
    }

    #[inline]
    pub(crate) fn is_current(&self, epoch: Epoch) -> bool {
        self.shared.current.is_current(epoch)
    }

    #[inline]
    pub(crate) fn id_of(&self, token: &CachedToken) -> TokenId {
        TokenId::new(self.shared.id, token.generation)
    }

    /// Starts no login any more, except for a call. Locks the state, and runs no user code.
    #[cfg(feature = "keyed")]
    pub(crate) fn retire(&self) {
        self.shared.retire();
    }

    /// Starts no login any more, except for a call. Returns `false`, and changes nothing, if the refresher is in use.
    #[cfg(feature = "keyed")]
    pub(crate) fn retire_unless_in_use(&self) -> bool {
        Arc::strong_count(&self.shared) == 1 && self.shared.retire_unless_logging_in()
    }

    /// Returns whether another handle exists, or a login is under way. Locks the state.
    #[cfg(feature = "keyed")]
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.shared) > 1 || self.shared.is_logging_in()
    }

    /// Returns a token that is usable now. Locks the state.
    pub(crate) fn usable_token(&self) -> Option<Arc<CachedToken>> {
        self.shared.usable_token()
    }

    /// Returns whether a request is sent without a token after a wait that ended with this error.
    pub(crate) fn sends_unauthenticated_after(&self, error: &LoginError) -> bool {
        self.shared.sends_unauthenticated_after(error)
    }

    /// Waits for a token, refreshed first if it expires within `min`.
    pub(crate) fn wait_for_token(&self, min: Option<Duration>) -> TokenFuture {
        let shared = self.shared.clone();
        Box::pin(async move {
            match min {
                Some(min) => shared.token_valid_for(min).await,
                None => shared.token().await,
            }
        })
    }
}

impl fmt::Debug for AuthRefresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRefresher").field("status", &self.status()).finish()
    }
}

/// The result of [`AuthRefresher::refresh`].
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, login_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?.with_expires_in(Duration::from_secs(3600))) });
/// let refreshed = AuthRefresher::new(login).refresh().await?;
/// assert_eq!(refreshed.token.secret(), "abc");
/// assert!(refreshed.next_refresh.is_some_and(|left| left < Duration::from_secs(3600)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refreshed {
    /// The current token: a new one, or the same if the issuer has no newer one.
    pub token: AccessToken,
    /// The time left until the next refresh; `None` if none is planned.
    pub next_refresh: Option<Duration>,
}
