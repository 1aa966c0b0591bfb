//! For tests of what uses this crate, without a network: logins by script, a wall clock to set, a layer with one token.
//!
//! Time in such tests is best [paused](https://docs.rs/tokio/latest/tokio/time/fn.pause.html): then an hour passes at once, and everything that a refresher does
//! happens when it is due, to the millisecond.
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
//! // The second login fails; all others bring a token for an hour.
//! let logins = Logins::default();
//! let refresher = logins.refresher(|nth| async move {
//!     match nth {
//!         2 => Err("the identity provider is down".into()),
//!         nth => Ok(AccessToken::bearer(format!("t{nth}"))?.with_expires_in(Duration::from_secs(3600))),
//!     }
//! });
//! // What is to be tested would be here.
//! let client = ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher)).service_fn(
//!     |request: Request<()>| async move { Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone())) },
//! );
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

/// A layer that sends `Bearer <secret>` for ever, and never logs in, whatever is rejected.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// use http::{Request, Response, header::AUTHORIZATION};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
///
/// let client = ServiceBuilder::new().layer(tower_auth_refresh::test_util::fixed("abc")?).service_fn(
///     |request: Request<()>| async move { Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone())) },
/// );
/// let response = client.oneshot(Request::get("https://api.example.com/").body(())?).await?;
/// assert_eq!(response.body(), "Bearer abc");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`AccessToken::bearer`].
pub fn fixed(secret: impl AsRef<[u8]>) -> Result<AuthRefreshLayer, InvalidToken> {
    let token = AccessToken::bearer(secret)?.with_expiry(Expiry::Never);
    let login = StaticToken::new(token.clone());
    let refresher = AuthRefresher::builder(login)
        .initial_token(token)
        .rejection_limit(0, Duration::from_secs(60))
        .build_unchecked();
    Ok(AuthRefreshLayer::new(refresher))
}

/// Login services that answer by script, and what they were asked. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    started: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most_running: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<LoginRequest>>>,
}

impl Logins {
    /// A login service that answers the n-th login, from 1, as `answer` says: with a token or an error, at once, after a
    /// while, or never. [`LoginError`](crate::LoginError) has the errors of which a refresher makes a difference.
    pub fn service<F, R>(&self, answer: F) -> ScriptedLogin<F>
    where
        F: Fn(usize) -> R,
        R: Future<Output = Result<AccessToken, BoxError>>,
    {
        ScriptedLogin { logins: self.clone(), answer }
    }

    /// A builder for a refresher with such a login service, whose refreshes come exactly when they are due, without jitter,
    /// and whose wall clock is a [`TestClock`].
    pub fn builder<F, R>(&self, answer: F) -> AuthRefresherBuilder
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        AuthRefresher::builder(self.service(answer)).jitter(false).rng(|| 0).clock(TestClock::default())
    }

    /// The same, built.
    pub fn refresher<F, R>(&self, answer: F) -> AuthRefresher
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        self.builder(answer).build_unchecked()
    }

    /// How many logins have started.
    pub fn started(&self) -> usize {
        self.started.load(SeqCst)
    }

    /// How many are running: not answered, and not dropped.
    pub fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    /// How many have run at once, at most.
    pub fn most_running(&self) -> usize {
        self.most_running.load(SeqCst)
    }

    /// What they were asked, in order.
    pub fn requests(&self) -> Vec<LoginRequest> {
        lock(&self.requests).clone()
    }
}

/// Made by [`Logins::service`].
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

/// Runs until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A wall clock that goes with tokio's, which may be paused, and can be set besides. It starts in 2027, at its first reading.
/// Clones are one clock.
#[derive(Clone, Debug, Default)]
pub struct TestClock {
    started: Arc<Mutex<Option<Instant>>>,
    /// Seconds set forward, or back.
    set: Arc<Mutex<i64>>,
}

const START: Duration = Duration::from_secs(1_800_000_000);

impl TestClock {
    /// Sets the clock forward by so many seconds, or back, as an administrator would. tokio's clock does not take part.
    pub fn set(&self, seconds: i64) {
        let mut set = lock(&self.set);
        *set = set.saturating_add(seconds);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        let started = *lock(&self.started).get_or_insert_with(Instant::now);
        let went = START.saturating_add(started.elapsed());
        let set = *lock(&self.set);
        let by = Duration::from_secs(set.unsigned_abs());
        let since_epoch = if set < 0 { went.saturating_sub(by) } else { went.saturating_add(by) };
        // Beyond what the system can tell it stands still.
        SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Nothing panics under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
