//! Provides scripted logins, a wall clock that tests control, and a layer with one token, for tests without a network.
//!
//! [Pause](https://docs.rs/tokio/latest/tokio/time/fn.pause.html) the time in such tests. Then an hour passes
//! immediately, and a refresher does everything when it is due, to the millisecond.
//!
//! ```
//! use std::time::Duration;
//!
//! use http::{Request, Response, header::AUTHORIZATION};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_auth_refresh::{AccessToken, AuthRefreshLayer, test_util::Logins};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! // The second login fails. All others return a token for an hour.
//! let logins = Logins::default();
//! let refresher = logins.refresher(|nth| async move {
//!     match nth {
//!         2 => Err("identity provider unavailable".into()),
//!         nth => Ok(AccessToken::bearer(format!("t{nth}"))?.with_expires_in(Duration::from_secs(3600))),
//!     }
//! });
//! // The code under test goes here.
//! let client = ServiceBuilder::new()
//!     .layer(AuthRefreshLayer::new(refresher))
//!     .service_fn(|request: Request<()>| async move {
//!         Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
//!     });
//! let sent = async || {
//!     let request = Request::get("https://api.example.com/").body(())?;
//!     Ok::<_, BoxError>(client.clone().oneshot(request).await?.into_body())
//! };
//!
//! assert_eq!(sent().await?, "Bearer t1");
//! tokio::time::sleep(Duration::from_secs(3600)).await;
//! assert_eq!(sent().await?, "Bearer t3");
//! assert_eq!(logins.started(), 3);
//! # Ok(())
//! # }
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tower_service::Service;

use crate::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefresherBuilder, BoxError, Clock, Expiry, InvalidToken,
    LoginRequest, sources::StaticToken,
};

/// Creates a layer that always sends `Bearer <secret>`. It never logs in, not even after a rejection.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// use http::{Request, Response, header::AUTHORIZATION};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
///
/// let client = ServiceBuilder::new()
///     .layer(tower_auth_refresh::test_util::fixed("abc")?)
///     .service_fn(|request: Request<()>| async move {
///         Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
///     });
/// let response = client.oneshot(Request::get("https://api.example.com/").body(())?).await?;
/// assert_eq!(response.body(), "Bearer abc");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As for [`AccessToken::bearer`].
pub fn fixed(secret: impl AsRef<[u8]>) -> Result<AuthRefreshLayer, InvalidToken> {
    let token = AccessToken::bearer(secret)?.with_expiry(Expiry::Never);
    let login = StaticToken::new(token.clone());
    let refresher = AuthRefresher::builder(login)
        .initial_token(token)
        .rejection_limit(0, Duration::from_secs(60))
        .build_unchecked();
    Ok(AuthRefreshLayer::new(refresher))
}

/// Creates scripted login services, and records their requests. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    started: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most_running: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<LoginRequest>>>,
}

impl Logins {
    /// Creates a login service that calls a function with the number of the login, from 1.
    ///
    /// The function's future returns a token or an error, immediately, later or never. A refresher distinguishes the
    /// errors as [`LoginError`](crate::LoginError) does.
    pub fn service<F, R>(&self, answer: F) -> ScriptedLogin<F>
    where
        F: Fn(usize) -> R,
        R: Future<Output = Result<AccessToken, BoxError>>,
    {
        ScriptedLogin { logins: self.clone(), answer }
    }

    /// Creates a builder for a refresher with such a login service.
    ///
    /// Its refreshes have no jitter, and its wall clock is a [`TestClock`].
    pub fn builder<F, R>(&self, answer: F) -> AuthRefresherBuilder
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        AuthRefresher::builder(self.service(answer)).jitter(false).rng(|| 0).clock(TestClock::default())
    }

    /// Creates a refresher with such a login service, as [`builder`](Self::builder) configures it.
    pub fn refresher<F, R>(&self, answer: F) -> AuthRefresher
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        self.builder(answer).build_unchecked()
    }

    /// Returns how many logins have started.
    pub fn started(&self) -> usize {
        self.started.load(SeqCst)
    }

    /// Returns how many logins are under way: neither finished nor dropped.
    pub fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    /// Returns the largest number of logins that were under way at the same time.
    pub fn most_running(&self) -> usize {
        self.most_running.load(SeqCst)
    }

    /// Returns the requests so far, in order.
    pub fn requests(&self) -> Vec<LoginRequest> {
        lock(&self.requests).clone()
    }
}

/// A scripted login service. [`Logins::service`] creates it.
#[derive(Clone)]
pub struct ScriptedLogin<F> {
    logins: Logins,
    answer: F,
}

impl<F, R> Service<LoginRequest> for ScriptedLogin<F>
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
{
    type Response = AccessToken;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        let logins = &self.logins;
        lock(&logins.requests).push(request);
        let nth = logins.started.fetch_add(1, SeqCst) + 1;
        let running = logins.running.fetch_add(1, SeqCst) + 1;
        logins.most_running.fetch_max(running, SeqCst);
        let running = Running(logins.running.clone());
        let answer = (self.answer)(nth);
        Box::pin(async move {
            let _running = running;
            answer.await
        })
    }
}

impl<F> fmt::Debug for ScriptedLogin<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedLogin").field("logins", &self.logins).finish_non_exhaustive()
    }
}

/// Counts one login as under way until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A wall clock that follows tokio's clock, which can be paused, and that a test can also set.
///
/// It starts in 2027, at its first reading. Clones are one clock.
#[derive(Clone, Debug, Default)]
pub struct TestClock {
    started: Arc<Mutex<Option<Instant>>>,
    /// How many seconds a test has set the clock forward, or back if negative.
    set: Arc<Mutex<i64>>,
}

const START: Duration = Duration::from_secs(1_800_000_000);

impl TestClock {
    /// Sets the clock forward by this many seconds, or back if negative.
    ///
    /// Adds to earlier calls. tokio's clock does not change.
    pub fn set(&self, seconds: i64) {
        let mut set = lock(&self.set);
        *set = set.saturating_add(seconds);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        #[expect(clippy::disallowed_methods, reason = "this clock advances with tokio's")]
        let started = *lock(&self.started).get_or_insert_with(Instant::now);
        let went = START.saturating_add(started.elapsed());
        let set = *lock(&self.set);
        let by = Duration::from_secs(set.unsigned_abs());
        let since_epoch = if set < 0 { went.saturating_sub(by) } else { went.saturating_add(by) };
        // A time that the system cannot represent is the epoch.
        SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Nothing panics under these locks, so a poisoned one is still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
