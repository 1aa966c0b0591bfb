//! Random schedules of everything that can happen to a refresher, in paused time.
//!
//! A seed that fails is printed; `SIMULATION_SEED=<seed>` runs it alone, `SIMULATION_SEEDS=<n>` runs that number of seeds.

use std::{
    collections::HashMap,
    future::{Future, pending},
    panic,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
    time::{Duration, SystemTime},
};

use crate::support::{TestClock, WORKER_TASKS, alive_tasks, request, secs};
use futures::FutureExt;
use http::{Request, Response, header::AUTHORIZATION};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{Instant, Sleep, advance, sleep, timeout},
};
use tower::{ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, BoxError, Clock, Error, Expiry, LoginError,
    LoginRequest, NoTokenPolicy, ReplayClone, State,
};

const WAIT: Duration = secs(10);
const LOGIN: Duration = secs(30);
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = secs(60);
const MAX_RETRY_AFTER: Duration = secs(300);
const CLOCK_CHECK_INTERVAL: Duration = secs(15);
/// Timers are good to a millisecond, and what is due at the same instant happens in any order.
const GRAIN: Duration = Duration::from_millis(3);

const SCRIPTED: &str = "a panic by script";

#[test]
fn random_schedules_keep_the_promises() {
    // Panics by script are not reported.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let scripted = [
            payload.downcast_ref::<&str>().copied(),
            payload.downcast_ref::<String>().map(String::as_str),
        ];
        if !scripted.contains(&Some(SCRIPTED)) {
            hook(info);
        }
    }));
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("SIMULATION_SEED") {
        return Simulation::new(seed).run();
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(2000);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for seed in (thread..seeds).step_by(threads as usize) {
                    if let Err(panic) = panic::catch_unwind(|| Simulation::new(seed).run()) {
                        println!("SIMULATION_SEED={seed}");
                        panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}

/// How a login ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Token { expiry: Expiry },
    SameToken { expiry: Expiry },
    Fails { permanent: bool, retry_after: Option<Duration> },
    Panics,
    Hangs,
}

/// A token as the issuer knows it.
#[derive(Clone, Copy, Debug)]
struct Issued {
    at: Instant,
    at_wall: SystemTime,
    expiry: Expiry,
}

/// What a login has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Token,
    Failed {
        retry_after: Duration,
    },
    /// Dropped with its runtime.
    Dropped,
    /// Its runtime stood still. It may have been discarded.
    Late,
}

/// What is known outside of the crate, against which it is held.
#[derive(Default)]
struct World {
    random: fastrand::Rng,
    calm: bool,
    running: u32,
    logins: usize,
    /// When the last login ended, and how.
    last: Option<(Instant, Outcome)>,
    failures_in_a_row: u32,
    /// An invalidation came while a login was running.
    superseded: bool,
    /// All tasks that run now are dropped with their runtime.
    runtime_ends: bool,
    last_start: Option<Instant>,
    issued: HashMap<String, Vec<Issued>>,
    last_secret: String,
    last_jump: Option<Instant>,
    /// How long the thread has been blocked. During that time, no timer fires and no task compares the clocks.
    blocked: Duration,
    /// How often a thread, a runtime or the machine seems to have stood still.
    standstills: u32,
    /// The same as `blocked`, when the wall clock was set last.
    blocked_at_jump: Duration,
    /// A runtime that is not driven may run the worker, and the task that compares its clocks.
    clocks_unwatched: bool,
    invalidated: Option<Instant>,
    stale: Duration,
}

type SharedWorld = Arc<Mutex<World>>;

fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    fn expiry(&mut self, now: SystemTime) -> Expiry {
        let lifetimes = [0, 10, 900, 1000, 5000, 30_000, 60_000, 299_000, 3_600_000, 86_400_000];
        let lifetime = Duration::from_millis(lifetimes[self.random.usize(..lifetimes.len())]);
        match self.random.u8(..12) {
            0 => Expiry::Never,
            1 => Expiry::Unknown,
            2 => Expiry::At(now + lifetime),
            _ => Expiry::In(lifetime),
        }
    }

    fn plan(&mut self, now: SystemTime) -> (Duration, Ending) {
        if self.calm {
            return (Duration::ZERO, Ending::Token { expiry: Expiry::In(secs(3600)) });
        }
        let delay = match self.random.u8(..4) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(self.random.u64(..200)),
            2 => Duration::from_millis(self.random.u64(..5000)),
            _ => Duration::from_millis(self.random.u64(..40_000)),
        };
        let ending = match self.random.u8(..20) {
            0..8 => Ending::Token { expiry: self.expiry(now) },
            8..10 => Ending::SameToken { expiry: self.expiry(now) },
            10..15 => Ending::Fails {
                permanent: false,
                retry_after: self.random.bool().then(|| secs(self.random.u64(..1000))),
            },
            15..17 => Ending::Fails { permanent: true, retry_after: None },
            17 => Ending::Panics,
            _ => Ending::Hangs,
        };
        (delay, ending)
    }

    /// The backoff: a login starts no earlier than this after the last one.
    fn check_start(&mut self, now: Instant) {
        assert_eq!(self.running, 0, "two logins at once");
        self.running += 1;
        self.logins += 1;
        let superseded = std::mem::take(&mut self.superseded);
        if let Some(last) = self.last_start.replace(now) {
            assert!(now - last + GRAIN >= MIN_PAUSE, "logins started {:?} apart", now - last);
        }
        let Some((ended, outcome)) = self.last else { return };
        let pause = match outcome {
            Outcome::Token if superseded => Duration::ZERO,
            Outcome::Token => MIN_PAUSE,
            Outcome::Dropped | Outcome::Late => Duration::ZERO,
            Outcome::Failed { retry_after } => {
                let doubled = MIN_PAUSE * 2_u32.pow(self.failures_in_a_row.min(10) - 1);
                doubled.min(MAX_PAUSE / 2).max(retry_after.min(MAX_RETRY_AFTER))
            }
        };
        let paused = now - ended;
        assert!(paused + GRAIN >= pause, "paused {paused:?} of {pause:?} after {outcome:?}");
    }

    fn ended(&mut self, outcome: Outcome) {
        self.running -= 1;
        self.failures_in_a_row = match outcome {
            Outcome::Failed { .. } => self.failures_in_a_row + 1,
            _ => 0,
        };
        self.last = Some((Instant::now(), outcome));
    }

    /// No request carries a token after its end.
    fn check_sent(&self, header: &str, now_wall: SystemTime) {
        let secret = header.strip_prefix("Bearer ").expect("a bearer token");
        let now = Instant::now();
        let issued = &self.issued[secret];
        let live = issued.iter().any(|issued| {
            let lifetime = match issued.expiry {
                Expiry::In(lifetime) => lifetime,
                Expiry::At(end) => end.duration_since(issued.at_wall).unwrap_or_default(),
                _ => return true,
            };
            let usable = lifetime + self.stale + GRAIN;
            let by_wall = now_wall.duration_since(issued.at_wall).unwrap_or_default() <= usable;
            let unseen = CLOCK_CHECK_INTERVAL + self.blocked - self.blocked_at_jump + GRAIN;
            let just_set = self.last_jump.is_some_and(|jump| now - jump <= unseen);
            now - issued.at <= usable && (by_wall || just_set || self.clocks_unwatched)
        });
        assert!(live, "{secret} was sent after its end: {issued:?}, now {now:?} {now_wall:?}");
    }
}

/// Runs while a login does, and tells what became of it.
struct Flight {
    world: SharedWorld,
    started: Instant,
    standstills: u32,
    outcome: Outcome,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut world = lock(&self.world);
        if self.outcome == Outcome::Dropped && !world.runtime_ends {
            // It took too long.
            assert!(
                self.started.elapsed() + GRAIN >= LOGIN,
                "a login was aborted after {:?}",
                self.started.elapsed()
            );
            self.outcome = Outcome::Failed { retry_after: Duration::ZERO };
        }
        if self.outcome != Outcome::Dropped && self.standstills != world.standstills {
            self.outcome = Outcome::Late;
        }
        world.ended(self.outcome);
    }
}

async fn login(world: SharedWorld, clock: TestClock) -> Result<AccessToken, BoxError> {
    let now_wall = clock.now();
    let (delay, ending, at, standstills) = {
        let mut world = lock(&world);
        world.check_start(Instant::now());
        let (delay, ending) = world.plan(now_wall);
        (delay, ending, Instant::now(), world.standstills)
    };
    let mut flight =
        Flight { world: world.clone(), started: at, standstills, outcome: Outcome::Dropped };
    sleep(delay).await;
    match ending {
        Ending::Token { expiry } | Ending::SameToken { expiry } => {
            let mut world = lock(&world);
            let same = matches!(ending, Ending::SameToken { .. }) && !world.last_secret.is_empty();
            if !same {
                world.last_secret = format!("t{}", world.logins);
            }
            let secret = world.last_secret.clone();
            world.issued.entry(secret.clone()).or_default().push(Issued {
                at,
                at_wall: now_wall,
                expiry,
            });
            flight.outcome = Outcome::Token;
            Ok(AccessToken::bearer(secret)?.with_expiry(expiry))
        }
        Ending::Fails { permanent, retry_after } => {
            flight.outcome = Outcome::Failed { retry_after: retry_after.unwrap_or_default() };
            let error =
                if permanent { LoginError::permanent("no") } else { LoginError::transient("no") };
            Err(match retry_after {
                Some(delay) => error.with_retry_after(delay),
                None => error,
            }
            .into())
        }
        Ending::Panics => {
            flight.outcome = Outcome::Failed { retry_after: Duration::ZERO };
            panic!("{SCRIPTED}")
        }
        Ending::Hangs => pending().await,
    }
}

struct Simulation {
    random: fastrand::Rng,
    world: SharedWorld,
    clock: TestClock,
    handles: Vec<AuthRefresher>,
    /// Runtimes that are kept and not driven.
    undriven: Vec<Runtime>,
    /// The time on the runtime that ran last.
    now: Option<Instant>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = World { random: random.fork(), ..World::default() };
        Self {
            random,
            world: Arc::new(Mutex::new(world)),
            clock: TestClock::default(),
            handles: Vec::new(),
            undriven: Vec::new(),
            now: None,
        }
    }

    fn build(&mut self) {
        let (world, clock) = (self.world.clone(), self.clock.clone());
        let mut jitter = self.random.fork();
        let service = service_fn(move |_: LoginRequest| login(world.clone(), clock.clone()));
        let mut builder = AuthRefresher::builder(service)
            .rng(move || jitter.u64(..))
            .clock(self.clock.clone())
            .wait_timeout(WAIT)
            .login_timeout(LOGIN)
            .backoff(MIN_PAUSE, MAX_PAUSE)
            .refresh_before_expiry(secs(self.random.u64(..600)));
        match self.random.u8(..6) {
            0 => builder = builder.no_token_policy(NoTokenPolicy::SendUnauthenticated),
            1 => {
                let at_most = secs(self.random.u64(..600));
                lock(&self.world).stale = at_most;
                builder = builder.no_token_policy(NoTokenPolicy::ServeStale { max_stale: at_most });
            }
            _ => {}
        }
        if self.random.u8(..3) == 0 {
            builder = builder.pause_when_idle(secs(self.random.u64(..7200)));
        }
        if self.random.u8(..4) == 0 {
            let (now, now_wall) = (Instant::now(), self.clock.now());
            let mut world = lock(&self.world);
            let expiry = world.expiry(now_wall);
            world
                .issued
                .insert("initial".to_owned(), vec![Issued { at: now, at_wall: now_wall, expiry }]);
            builder =
                builder.initial_token(AccessToken::bearer("initial").unwrap().with_expiry(expiry));
        }
        self.handles.push(builder.build().unwrap());
    }

    fn run(mut self) {
        for phase in 0..self.random.u8(1..5) {
            let runtime = self.runtime();
            runtime.block_on(async {
                if phase == 0 {
                    self.build();
                }
                self.phase().await;
                self.now = Some(Instant::now());
            });
            if self.random.u8(..3) == 0 {
                self.undriven.push(runtime);
                let mut world = lock(&self.world);
                world.clocks_unwatched = true;
                world.standstills += 1;
            } else {
                self.shut_down(runtime);
            }
            if !self.undriven.is_empty() && self.random.bool() {
                let kept = self.random.usize(..self.undriven.len());
                let kept = self.undriven.swap_remove(kept);
                if self.random.bool() {
                    self.drive_again(&kept);
                }
                self.shut_down(kept);
            }
        }
        while let Some(kept) = self.undriven.pop() {
            self.shut_down(kept);
        }
        let runtime = self.runtime();
        runtime.block_on(self.outage_ends());
    }

    /// The paused clock of a new runtime starts at zero. This advances it to the current simulated time.
    fn runtime(&self) -> Runtime {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(catch_up(self.now));
        runtime
    }

    /// Drops a runtime, with everything that still runs on it.
    fn shut_down(&mut self, runtime: Runtime) {
        lock(&self.world).runtime_ends = true;
        drop(runtime);
        let mut world = lock(&self.world);
        world.runtime_ends = false;
        world.clocks_unwatched = !self.undriven.is_empty();
    }

    /// Drives a runtime again that has stood still for a while.
    fn drive_again(&mut self, runtime: &Runtime) {
        runtime.block_on(async {
            catch_up(self.now).await;
            sleep(secs(self.random.u64(..60))).await;
            self.now = Some(Instant::now());
        });
    }

    /// Some steps on one runtime.
    async fn phase(&mut self) {
        let mut tasks = JoinSet::new();
        for _ in 0..self.random.u8(5..40) {
            self.step(&mut tasks).await;
            while let Some(done) = tasks.try_join_next() {
                done.unwrap();
            }
        }
        let all_calls_end = async {
            while let Some(done) = tasks.join_next().await {
                done.unwrap()
            }
        };
        if self.random.bool() {
            timeout(LOGIN + WAIT + GRAIN, all_calls_end)
                .await
                .expect("a call waits without a limit");
        }
        // A call that is dropped loses nothing; one that is kept would not run again.
    }

    async fn step(&mut self, tasks: &mut JoinSet<()>) {
        let handle = self.handles[self.random.usize(..self.handles.len())].clone();
        match self.random.u8(..23) {
            0..8 => {
                let request = send(handle, self.world.clone(), self.clock.clone());
                match self.random.u8(..4) {
                    0 => {
                        let patience = Duration::from_millis(self.random.u64(..3000));
                        tasks.spawn(async move { drop(timeout(patience, request).await) });
                    }
                    1 => request.await,
                    _ => drop(tasks.spawn(request)),
                }
            }
            8 => {
                let (start, world) = (Waited::start(&self.world), self.world.clone());
                tasks.spawn(async move {
                    let _ = handle.refresh().await;
                    start.assert_at_most(LOGIN + WAIT, &world);
                });
            }
            9 => {
                let remaining = secs(self.random.u64(..4000));
                tasks.spawn(async move { drop(handle.token_valid_for(remaining).await) });
            }
            10 => {
                handle.invalidate();
                let mut world = lock(&self.world);
                world.invalidated = Some(Instant::now());
                // What the running login brings will not be used: another may follow at once.
                world.superseded |= world.running > 0;
            }
            11 => self.handles.push(handle),
            12 if self.handles.len() > 1 => drop(self.handles.swap_remove(0)),
            13 => {
                let by = secs(self.random.u64(0..7200));
                if self.random.bool() {
                    self.clock.advance(by);
                } else {
                    self.clock.rewind(by);
                }
                let mut world = lock(&self.world);
                (world.last_jump, world.blocked_at_jump) = (Some(Instant::now()), world.blocked);
                // A wall clock that jumps forward looks as if the machine had been suspended.
                world.standstills += 1;
            }
            20 => {
                let (replay, world) = (self.random.bool(), self.world.clone());
                let call = rejected(handle, replay, world);
                tasks.spawn(async move { drop(call.await) });
            }
            21 => self.block_thread().await,
            22 => {
                let delay = Duration::from_millis(self.random.u64(..5_000));
                let (world, clock) = (self.world.clone(), self.clock.clone());
                let inner = SlowReady { inner: checked(&world, &clock), delay, ready: None };
                let call =
                    tower::Layer::layer(&AuthRefreshLayer::new(handle), inner).oneshot(request());
                tasks.spawn(async move { drop(timeout(LOGIN, call).await) });
            }
            14 => sleep(secs(self.random.u64(..10_000))).await,
            15..17 => sleep(secs(self.random.u64(..100))).await,
            _ => sleep(Duration::from_millis(self.random.u64(..2000))).await,
        }
    }

    /// The thread is blocked for a while, and calls follow before the runtime runs anything else.
    async fn block_thread(&mut self) {
        let blocked = Duration::from_millis(self.random.u64(..10_000));
        {
            let mut world = lock(&self.world);
            world.blocked += blocked;
            world.standstills += 1;
        }
        assert!(pin!(advance(blocked)).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let handle = self.handles[self.random.usize(..self.handles.len())].clone();
        let mut client = client(&handle, &self.world, &self.clock);
        let _ = pin!(tower::Service::call(&mut client, request()))
            .poll(&mut Context::from_waker(Waker::noop()));
    }

    /// MockLogin succeed from now on: a request succeeds within one step of the backoff. Then nothing is left.
    async fn outage_ends(&mut self) {
        {
            let mut world = lock(&self.world);
            (world.calm, world.runtime_ends) = (true, false);
        }
        let handle = self.handles.pop().unwrap();
        self.handles.clear();
        // A request starts the worker. A login that hangs may have to time out. Then follows one pause.
        send(handle.clone(), self.world.clone(), self.clock.clone()).await;
        sleep(LOGIN + MAX_RETRY_AFTER.max(MAX_PAUSE) + GRAIN).await;
        let answer = client(&handle, &self.world, &self.clock).oneshot(request()).await;
        assert!(answer.expect("the outage has ended").into_body(), "sent without a token");

        assert!(alive_tasks().await <= WORKER_TASKS);
        lock(&self.world).runtime_ends = true;
        drop(handle);
        sleep(GRAIN).await;
        assert_eq!(alive_tasks().await, 0, "a task is left");
        assert_eq!(lock(&self.world).running, 0, "a login is left");
    }
}

/// Advances the clock of the current runtime to this time.
async fn catch_up(time: Option<Instant>) {
    if let Some(time) = time {
        advance(time.saturating_duration_since(Instant::now())).await;
    }
}

/// The layer over a service that checks what is sent. It responds whether there was a token.
fn client(
    handle: &AuthRefresher,
    world: &SharedWorld,
    clock: &TestClock,
) -> impl tower::Service<Request<()>, Response = Response<bool>, Error = Error, Future: Send> + use<>
{
    tower::Layer::layer(&AuthRefreshLayer::new(handle.clone()), checked(world, clock))
}

/// A service that checks what is sent.
fn checked(
    world: &SharedWorld,
    clock: &TestClock,
) -> impl tower::Service<Request<()>, Response = Response<bool>, Error = BoxError, Future: Send>
+ Clone
+ use<> {
    let (world, clock) = (world.clone(), clock.clone());
    service_fn(move |request: Request<()>| {
        let header =
            request.headers().get(AUTHORIZATION).map(|header| header.to_str().unwrap().to_owned());
        if let Some(header) = &header {
            lock(&world).check_sent(header, clock.now());
        }
        async move { Ok::<_, BoxError>(Response::new(header.is_some())) }
    })
}

/// A service that takes a while to be ready, after each clone too.
struct SlowReady<S> {
    inner: S,
    delay: Duration,
    ready: Option<Pin<Box<Sleep>>>,
}

impl<S: Clone> Clone for SlowReady<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), delay: self.delay, ready: None }
    }
}

impl<S: tower::Service<Request<()>>> tower::Service<Request<()>> for SlowReady<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.ready.get_or_insert_with(|| Box::pin(sleep(self.delay))).as_mut().poll(cx));
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> S::Future {
        self.ready = None;
        self.inner.call(request)
    }
}

/// How long a call waits, without the time in which its thread was blocked.
struct Waited {
    start: Instant,
    blocked: Duration,
}

impl Waited {
    fn start(world: &SharedWorld) -> Self {
        Self { start: Instant::now(), blocked: lock(world).blocked }
    }

    fn assert_at_most(&self, limit: Duration, world: &SharedWorld) {
        let waited = self.start.elapsed().saturating_sub(lock(world).blocked - self.blocked);
        assert!(waited <= limit + GRAIN, "waited {waited:?}");
    }
}

/// Sends a request to a server that rejects every token.
fn rejected(
    handle: AuthRefresher,
    replay: bool,
    world: SharedWorld,
) -> impl Future<Output = Result<Response<()>, Error>> + Send {
    let server = service_fn(move |_: Request<()>| {
        {
            // The rejection may count, and then a login that is under way may be discarded.
            let mut world = lock(&world);
            world.invalidated = Some(Instant::now());
            world.superseded |= world.running > 0;
        }
        async { Ok::<_, BoxError>(Response::builder().status(401).body(()).unwrap()) }
    });
    let layer = AuthRefreshLayer::new(handle);
    match replay {
        true => {
            tower::Layer::layer(&layer.replay(ReplayClone), server).oneshot(request()).left_future()
        }
        false => tower::Layer::layer(&layer, server).oneshot(request()).right_future(),
    }
}

async fn send(handle: AuthRefresher, world: SharedWorld, clock: TestClock) {
    let (start, waited) = (Instant::now(), Waited::start(&world));
    // The worker sees an invalidation as soon as it runs. In paused time, that takes no time.
    // So it is with a clock that was set, within a heartbeat.
    let excused = {
        let world = lock(&world);
        let just_set =
            world.last_jump.is_some_and(|jump| start - jump <= CLOCK_CHECK_INTERVAL + GRAIN);
        world.invalidated == Some(start) || just_set
    };
    let live = matches!(handle.status().state, State::Ready | State::Refreshing | State::Stale);
    let answer = client(&handle, &world, &clock).oneshot(request()).await;
    waited.assert_at_most(WAIT, &world);
    if live && !excused {
        assert_eq!(
            start.elapsed(),
            Duration::ZERO,
            "waited although there was a token: {answer:?}"
        );
        assert!(
            answer.expect("failed although there was a token").into_body(),
            "sent without although there was one"
        );
    }
}
