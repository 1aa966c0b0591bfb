//! Keeps one identity's token fresh, in one cell. Knows nothing of HTTP requests.
//!
//! In reading order: `lease` (with `copies` of its header value) and `schedule` (pure: when a token ends, when to log in);
//! `holding`, `idle` and `ledger` (what the worker knows and decides); `worker` (the task); `current` (the cell) and `mark`
//! (how a call tells what was in it); `shared` and `wait` (where callers and worker meet); `status`, `builder`, `weak`, and
//! the handle below.

mod builder;
mod copies;
mod current;
mod holding;
mod idle;
mod lease;
mod ledger;
mod mark;
mod rejections;
mod schedule;
mod shared;
mod status;
mod wait;
mod weak;
mod worker;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use arc_swap::Guard;
use tokio::sync::watch;
use tower_service::Service;

use self::shared::Shared;
#[cfg(feature = "oauth2")]
pub(crate) use self::worker::detach;
pub use self::{
    builder::{AuthRefresherBuilder, InvalidSetting, NoTokenPolicy},
    status::{State, Status},
    weak::WeakAuthRefresher,
};
pub(crate) use self::{copies::Group, lease::Lease, mark::Mark};
use crate::{AccessToken, BoxError, LoginError, LoginRequest, events::Events};

/// A wait for a token; `None`: the call is to be sent without.
pub(crate) type TokenFuture = Pin<Box<dyn Future<Output = Result<Option<Arc<Lease>>, LoginError>> + Send>>;

/// The token of one identity, kept fresh: a handle that is cheap to clone. All clones share one token and one worker.
///
/// Nothing happens before the first use. From then on a task on the runtime of that use logs in, publishes the token,
/// sleeps until it is to be refreshed, and so on; it ends, and a running login with it, when the last handle is
/// dropped. If the runtime ends sooner the next use starts where the task was, on its own runtime; a token that is
/// still good is used on.
///
/// A current-thread runtime drives the task only while it is itself driven. One that is kept and driven no more leaves the
/// token to those who use it elsewhere beyond its end, and them without the next one: drop it, or give the refresher a first
/// use on a runtime that goes on.
///
/// A refresh never gets in the way: the token in use serves until it expires, and a failed refresh is repeated with
/// growing pauses. No failure is final.
///
/// A login service that keeps a handle of its own refresher keeps it alive; [`shutdown`](Self::shutdown) ends it then.
///
/// # Panics
///
/// A call that has to wait panics, as all of tokio's timers do, on a runtime without its time driver
/// ([`enable_time`](tokio::runtime::Builder::enable_time)).
///
/// # Example
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
/// refresher.ready().await?; // optional: fail fast at start-up
/// assert_eq!(refresher.status().generation, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AuthRefresher {
    shared: Arc<Shared>,
}

impl AuthRefresher {
    /// A refresher with the default settings.
    ///
    /// The login service is any tower service from [`LoginRequest`] to [`AccessToken`].
    pub fn new<L>(login: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self::builder(login).build_unchecked()
    }

    /// A refresher with settings.
    pub fn builder<L>(login: L) -> AuthRefresherBuilder
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        AuthRefresherBuilder::new(login)
    }

    /// Its [name](AuthRefresherBuilder::name), if it has one.
    pub fn name(&self) -> Option<&str> {
        self.events().name()
    }

    #[inline]
    pub(crate) fn events(&self) -> &Events {
        &self.shared.settings.events
    }

    /// Waits until there is a token, so that a program can fail at start-up rather than at its first request.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token). An error is not final: the next call, or request, tries again.
    pub async fn ready(&self) -> Result<(), LoginError> {
        self.shared.token().await.map(drop)
    }

    /// The token in use; waits for a login if there is none.
    ///
    /// Dropping the future loses nothing: the login it waits for goes on.
    ///
    /// # Errors
    ///
    /// The login that was waited for failed; or the last one did, and the pause after it is not over; or
    /// [the wait took too long](AuthRefresherBuilder::wait_timeout); or the refresher has been shut down; or there is no
    /// tokio runtime.
    pub async fn token(&self) -> Result<AccessToken, LoginError> {
        Ok(self.shared.token().await?.token.for_others())
    }

    /// Refreshes the token now, or joins the login that is running, and waits for its end.
    ///
    /// The token in use serves meanwhile. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token), but that the wait is limited by the login's timeout and the caller's together. A failure
    /// leaves the token in use where it is.
    pub async fn refresh(&self) -> Result<Refreshed, LoginError> {
        let lease = self.shared.refresh().await?;
        let next_refresh = lease.until_refresh(self.shared.now());
        Ok(Refreshed { token: lease.token.for_others(), next_refresh })
    }

    /// Uses the current token no more, and logs in for another. A refresh that is running already does not count: it was
    /// begun before. Does nothing if there is no token.
    ///
    /// A service that lives long forgets the token's bytes at its next call, or when it is dropped.
    pub fn invalidate(&self) {
        self.shared.invalidate();
    }

    /// The token in use, for the hot path. The guard must be gone before the next await.
    #[inline]
    pub(crate) fn current(&self) -> Guard<Option<Arc<Lease>>> {
        self.shared.current.load()
    }

    /// What a call that carries this token remembers.
    #[inline]
    pub(crate) fn mark(&self, lease: &Lease) -> Mark {
        self.shared.current.mark_of(lease.generation)
    }

    /// Whether the token of this mark is in use still.
    #[inline]
    pub(crate) fn is_current(&self, mark: Mark) -> bool {
        self.shared.current.is(mark)
    }

    /// Waits for a token, for a call that found none.
    pub(crate) fn wait(&self) -> TokenFuture {
        let shared = self.shared.clone();
        Box::pin(async move {
            let lease = shared.token().await;
            shared.or_unauthenticated(lease)
        })
    }

    /// Waits for a token that lives at least so long still.
    pub(crate) fn wait_for(&self, remaining: Duration) -> TokenFuture {
        let shared = self.shared.clone();
        Box::pin(async move {
            let lease = shared.token_valid_for(remaining).await;
            shared.or_unauthenticated(lease)
        })
    }

    /// A token that lives at least so long still; refreshes it first if the one in use does not, and is no longer young (has
    /// used a quarter of its life).
    ///
    /// For what outlives a request: a connection, a stream, a tool that is handed the token.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh), but only if there is no token at all: one that lives too short is no error if there is
    /// none better.
    pub async fn token_valid_for(&self, remaining: Duration) -> Result<AccessToken, LoginError> {
        Ok(self.shared.token_valid_for(remaining).await?.token.for_others())
    }

    /// How things stand, now and after each change.
    ///
    /// A slow receiver misses snapshots, never the last one. Receivers do not keep the worker alive; when the last handle
    /// is dropped they see the channel close.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Ends the worker, and a running login with it, for good: from now on calls that need a token fail.
    ///
    /// Does not wait; the task is gone when its runtime has polled it once more. A service that lives long forgets the token's
    /// bytes at its next call, or when it is dropped.
    pub fn shutdown(&self) {
        self.shared.shut_down();
    }

    /// A handle that does not count: for a task that has something to tell the refresher, and is not to keep it.
    pub fn downgrade(&self) -> WeakAuthRefresher {
        WeakAuthRefresher::new(Arc::downgrade(&self.shared))
    }
}

impl fmt::Debug for AuthRefresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRefresher").field("status", &self.status()).finish()
    }
}

/// What a [refresh](AuthRefresher::refresh) by hand brought.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refreshed {
    /// The new token.
    pub token: AccessToken,
    /// How long until the next refresh; `None` if none is planned.
    pub next_refresh: Option<Duration>,
}
