//! Provides scripted logins, a wall clock that tests control, and a layer with one token. Tests with them need no
//! network. With the feature `shared`, also a test of token stores.
//!
//! [Pause](https://docs.rs/tokio/latest/tokio/time/fn.pause.html) the time in such tests. Then an hour passes
//! immediately, and a refresher acts at the exact millisecond.
//!
//! ```
//! use std::time::Duration;
//!
//! use http::{Request, Response, header::AUTHORIZATION};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_auth_refresh::{AccessToken, AuthRefreshLayer, test_util::MockLogin};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! // The second login fails. All others return a token for an hour.
//! let logins = MockLogin::default();
//! let refresher = logins.refresher(|nth| async move {
//!     match nth {
//!         2 => Err("issuer unavailable".into()),
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

#[cfg(feature = "shared")]
mod check_token_store;
#[cfg(feature = "shared")]
mod in_memory_token_store;

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

#[cfg(feature = "shared")]
#[cfg_attr(docsrs, doc(cfg(feature = "shared")))]
pub use self::check_token_store::{StoreRule, StoreViolation, check_token_store};
use crate::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefresherBuilder, BoxError, Clock, Expiry,
    InvalidToken, LoginRequest, sources::StaticToken,
};

#[cfg(feature = "shared")]
#[cfg_attr(docsrs, doc(cfg(feature = "shared")))]
pub use self::in_memory_token_store::InMemoryTokenStore;

/// Creates a layer that always sends `Bearer <secret>`. It never logs in, not even after a rejection.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// use http::{Request, Response, header::AUTHORIZATION};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
///
/// let client = ServiceBuilder::new()
///     .layer(tower_auth_refresh::test_util::static_layer("abc")?)
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
pub fn static_layer(secret: impl AsRef<[u8]>) -> Result<AuthRefreshLayer, InvalidToken> {
    let token = AccessToken::bearer(secret)?.with_expiry(Expiry::Never);
    let login = StaticToken::new(token.clone());
    let refresher = AuthRefresher::builder(login)
        .initial_token(token)
        .rejection_limit(0, Duration::from_secs(60))
        .build_unchecked();
    Ok(AuthRefreshLayer::new(refresher))
}

/// Creates scripted login services, and records their requests. It is not a login service itself. Clones share the
/// counts.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower::BoxError> {
/// use tower_auth_refresh::{AccessToken, test_util::MockLogin};
///
/// let logins = MockLogin::default();
/// let refresher = logins.refresher(|nth| async move { Ok(AccessToken::bearer(format!("t{nth}"))?) });
/// assert_eq!(refresher.token().await?.secret(), "t1");
/// refresher.refresh().await?;
/// assert_eq!(refresher.token().await?.secret(), "t2");
/// assert_eq!((logins.started(), logins.max_concurrent()), (2, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MockLogin {
    started: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    max_concurrent: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<LoginRequest>>>,
}

impl MockLogin {
    /// Creates a login service that calls a function with the number of the login, from 1.
    ///
    /// The function's future returns a token or an error, immediately, later or never. A refresher distinguishes the
    /// errors as [`LoginError`](crate::LoginError) does.
    ///
    /// ```
    /// # use tower::ServiceExt;
    /// # use tower_auth_refresh::{AccessToken, BoxError, LoginReason, LoginRequest, test_util::MockLogin};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let logins = MockLogin::default();
    /// let service = logins.service(|nth| async move { Ok(AccessToken::bearer(format!("t{nth}"))?) });
    /// let token = service.oneshot(LoginRequest::new(LoginReason::First)).await?;
    /// assert_eq!((token.secret(), logins.started()), ("t1", 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn service<F, R>(&self, login: F) -> MockLoginService<F>
    where
        F: Fn(usize) -> R,
        R: Future<Output = Result<AccessToken, BoxError>>,
    {
        MockLoginService { logins: self.clone(), login }
    }

    /// Creates a builder for a refresher with a scripted login service.
    ///
    /// Its refreshes have no jitter, and its wall clock is a [`TestClock`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_auth_refresh::{AccessToken, BoxError, test_util::MockLogin};
    /// # fn main() -> Result<(), BoxError> {
    /// let refresher = MockLogin::default()
    ///     .builder(|_| async { Ok(AccessToken::bearer("abc")?) })
    ///     .wait_timeout(Duration::from_secs(1))
    ///     .build()?;
    /// # let _ = refresher;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder<F, R>(&self, login: F) -> AuthRefresherBuilder
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        AuthRefresher::builder(self.service(login))
            .jitter(false)
            .rng(|| 0)
            .clock(TestClock::default())
    }

    /// Creates a refresher with a scripted login service, as [`builder`](Self::builder) configures it.
    ///
    /// ```
    /// # use tower_auth_refresh::{AccessToken, BoxError, test_util::MockLogin};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), BoxError> {
    /// let refresher = MockLogin::default().refresher(|_| async { Ok(AccessToken::bearer("abc")?) });
    /// assert_eq!(refresher.token().await?.secret(), "abc");
    /// # Ok(())
    /// # }
    /// ```
    pub fn refresher<F, R>(&self, login: F) -> AuthRefresher
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        self.builder(login).build_unchecked()
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
    pub fn max_concurrent(&self) -> usize {
        self.max_concurrent.load(SeqCst)
    }

    /// Returns the requests so far, in order.
    pub fn requests(&self) -> Vec<LoginRequest> {
        lock(&self.requests).clone()
    }
}

/// A scripted login service. [`MockLogin::service`] creates it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// use tower::{ServiceBuilder, ServiceExt};
/// use tower_auth_refresh::{AccessToken, LoginReason, LoginRequest, test_util::{MockLogin, MockLoginService}};
///
/// let logins = MockLogin::default();
/// let login: MockLoginService<_> = logins.service(|_| async { Ok(AccessToken::bearer("abc")?) });
/// // Test a layer for login services with it.
/// let login = ServiceBuilder::new().concurrency_limit(1).service(login);
/// let token = login.oneshot(LoginRequest::new(LoginReason::First)).await?;
/// assert_eq!(token.secret(), "abc");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MockLoginService<F> {
    logins: MockLogin,
    login: F,
}

impl<F, R> Service<LoginRequest> for MockLoginService<F>
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
        logins.max_concurrent.fetch_max(running, SeqCst);
        let running = Running(logins.running.clone());
        let login = (self.login)(nth);
        Box::pin(async move {
            let _running = running;
            login.await
        })
    }
}

impl<F> fmt::Debug for MockLoginService<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockLoginService").field("logins", &self.logins).finish_non_exhaustive()
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
/// It starts in 2027, at its first reading. Clones share one time.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{Clock, test_util::TestClock};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let clock = TestClock::default();
/// let start = clock.now();
/// tokio::time::sleep(Duration::from_secs(60)).await;
/// assert_eq!(clock.now(), start + Duration::from_secs(60));
///
/// // A machine that was suspended for an hour: only the wall clock advances.
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now(), start + Duration::from_secs(3660));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TestClock(Arc<Mutex<TestTime>>);

#[derive(Debug, Default)]
struct TestTime {
    started: Option<Instant>,
    advanced: Duration,
    rewound: Duration,
}

const START: Duration = Duration::from_secs(1_800_000_000);

impl TestClock {
    /// Sets the clock forward by this duration. tokio's clock does not change.
    pub fn advance(&self, by: Duration) {
        let mut time = lock(&self.0);
        time.advanced = time.advanced.saturating_add(by);
    }

    /// Sets the clock back by this duration, at most to 1970. tokio's clock does not change.
    pub fn rewind(&self, by: Duration) {
        let mut time = lock(&self.0);
        time.rewound = time.rewound.saturating_add(by);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        #[expect(clippy::disallowed_methods, reason = "this clock advances with tokio's")]
        let now = Instant::now();
        let mut time = lock(&self.0);
        let elapsed = now.saturating_duration_since(*time.started.get_or_insert(now));
        let since_epoch = START
            .saturating_add(elapsed)
            .saturating_add(time.advanced)
            .saturating_sub(time.rewound);
        // A time that the system cannot represent is the epoch.
        SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Nothing panics under these locks, so a poisoned one is still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
