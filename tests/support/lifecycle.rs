//! What the tests of the lifecycle share: logins by script, a wall clock to set, and a service that tells which token it
//! was sent.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use http::{Request, Response, header::AUTHORIZATION};
use tokio::time::Instant;
use tower::{Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefresh, AuthRefreshLayer, AuthRefresher, AuthRefresherBuilder, BoxError, Clock, Error,
    LoginRequest,
};

/// Counts logins, and how many run at once.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    started: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most_running: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<LoginRequest>>>,
}

/// Runs until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Logins {
    /// How many have started.
    pub fn started(&self) -> usize {
        self.started.load(SeqCst)
    }

    pub fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    pub fn most_running(&self) -> usize {
        self.most_running.load(SeqCst)
    }

    pub fn requests(&self) -> Vec<LoginRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// A login service that answers the n-th login (from 1) as `answer` says.
    pub fn service<F, R>(
        &self,
        answer: F,
    ) -> impl Service<LoginRequest, Response = AccessToken, Error = BoxError, Future: Send> + Send + 'static
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        let logins = self.clone();
        service_fn(move |request: LoginRequest| {
            logins.requests.lock().unwrap().push(request);
            let nth = logins.started.fetch_add(1, SeqCst) + 1;
            let running = logins.running.fetch_add(1, SeqCst) + 1;
            logins.most_running.fetch_max(running, SeqCst);
            let guard = Running(logins.running.clone());
            let answer = answer(nth);
            async move {
                let _guard = guard;
                answer.await
            }
        })
    }

    /// A refresher whose refreshes come exactly when they are due.
    pub fn builder<F, R>(&self, answer: F) -> AuthRefresherBuilder
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        AuthRefresher::builder(self.service(answer)).jitter(false).random(|| 0).clock(TestClock::default())
    }

    pub fn refresher<F, R>(&self, answer: F) -> AuthRefresher
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        self.builder(answer).build().unwrap()
    }
}

/// The token `t<n>`.
pub fn token(n: usize, lifetime: Duration) -> Result<AccessToken, BoxError> {
    Ok(AccessToken::bearer(format!("t{n}"))?.with_expires_in(lifetime))
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const HOUR: Duration = secs(3600);

/// A wall clock that goes with tokio's (which may be paused), and can be set besides.
#[derive(Clone, Debug)]
pub struct TestClock {
    start: SystemTime,
    started: Arc<Mutex<Option<Instant>>>,
    /// Seconds set forward, or back.
    set: Arc<Mutex<i64>>,
}

impl Default for TestClock {
    fn default() -> Self {
        let start = SystemTime::UNIX_EPOCH + secs(1_800_000_000);
        Self { start, started: Arc::default(), set: Arc::default() }
    }
}

impl TestClock {
    /// Sets the clock forward by so many seconds, or back.
    pub fn set(&self, seconds: i64) {
        *self.set.lock().unwrap() += seconds;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        let started = *self.started.lock().unwrap().get_or_insert_with(Instant::now);
        let now = self.start + started.elapsed();
        let set = *self.set.lock().unwrap();
        if set < 0 { now - secs(set.unsigned_abs()) } else { now + secs(set.unsigned_abs()) }
    }
}

/// The layer over a service that answers with the `Authorization` header it was sent.
pub fn client(
    refresher: &AuthRefresher,
) -> AuthRefresh<
    impl Service<Request<()>, Response = Response<String>, Error = BoxError, Future: Send> + Clone + Send + use<>,
> {
    let echo = service_fn(|request: Request<()>| async move {
        let header = request.headers().get(AUTHORIZATION).ok_or("no token")?;
        Ok::<_, BoxError>(Response::new(header.to_str()?.to_owned()))
    });
    tower::ServiceBuilder::new().layer(AuthRefreshLayer::new(refresher.clone())).service(echo)
}

pub fn request() -> Request<()> {
    Request::get("https://api.example.com/").body(()).unwrap()
}

/// Sends one request; returns the `Authorization` header that arrived.
pub async fn send(refresher: &AuthRefresher) -> Result<String, Error<BoxError>> {
    client(refresher).oneshot(request()).await.map(Response::into_body)
}

/// The causes of an error, outermost first.
pub fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}
