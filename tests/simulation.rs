//! Random schedules of everything that can happen to a refresher, in paused time.
//!
//! A seed that fails is printed; `SIMULATION_SEED=<seed>` runs it alone, `SIMULATION_SEEDS=<n>` runs so many.

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    collections::HashMap,
    future::{Future, pending},
    panic,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use harness::{TestClock, request, secs};
use http::{Request, Response, header::AUTHORIZATION};
use tokio::{
    runtime::{Builder, Handle},
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};
use tower::{ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, BoxError, Clock, Error, Expiry, LoginError, LoginRequest,
    NoTokenPolicy, State,
};

const WAIT: Duration = secs(10);
const LOGIN: Duration = secs(30);
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = secs(60);
const MOST_RETRY_AFTER: Duration = secs(300);
const HEARTBEAT: Duration = secs(15);
/// Timers are good to a millisecond, and what is due at the same instant happens in any order.
const GRAIN: Duration = Duration::from_millis(3);

const SCRIPTED: &str = "a panic by script";

#[test]
fn whatever_happens_the_promises_hold() {
    // Panics by script are part of the play, and of no interest.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some(SCRIPTED) {
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
                    if let Err(broken) = panic::catch_unwind(|| Simulation::new(seed).run()) {
                        println!("SIMULATION_SEED={seed}");
                        panic::resume_unwind(broken);
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
    /// Whatever runs now is dropped with its runtime.
    runtime_ends: bool,
    last_start: Option<Instant>,
    issued: HashMap<String, Vec<Issued>>,
    last_secret: String,
    last_jump: Option<Instant>,
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

    /// What back-off allows: a login may start only so long after the last.
    fn check_start(&mut self, now: Instant) {
        assert_eq!(self.running, 0, "two logins at once");
        self.running += 1;
        self.logins += 1;
        let superseded = std::mem::take(&mut self.superseded);
        if let Some(last) = self.last_start.replace(now) {
            assert!(now - last + GRAIN >= SHORTEST, "logins started {:?} apart", now - last);
        }
        let Some((ended, outcome)) = self.last else { return };
        let pause = match outcome {
            Outcome::Token if superseded => Duration::ZERO,
            Outcome::Token => SHORTEST,
            Outcome::Dropped => Duration::ZERO,
            Outcome::Failed { retry_after } => {
                let doubled = SHORTEST * 2_u32.pow(self.failures_in_a_row.min(10) - 1);
                doubled.min(LONGEST / 2).max(retry_after.min(MOST_RETRY_AFTER))
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
            let just_set = self.last_jump.is_some_and(|jump| now - jump <= HEARTBEAT + GRAIN);
            now - issued.at <= usable && (by_wall || just_set)
        });
        assert!(live, "{secret} was sent after its end: {issued:?}, now {now:?} {now_wall:?}");
    }
}

/// Runs while a login does, and tells what became of it.
struct Flight {
    world: SharedWorld,
    started: Instant,
    outcome: Outcome,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut world = lock(&self.world);
        if self.outcome == Outcome::Dropped && !world.runtime_ends {
            // It took too long.
            assert!(self.started.elapsed() + GRAIN >= LOGIN, "a login was given up after {:?}", self.started.elapsed());
            self.outcome = Outcome::Failed { retry_after: Duration::ZERO };
        }
        world.ended(self.outcome);
    }
}

async fn login(world: SharedWorld, clock: TestClock) -> Result<AccessToken, BoxError> {
    let now_wall = clock.now();
    let (delay, ending, at) = {
        let mut world = lock(&world);
        world.check_start(Instant::now());
        let (delay, ending) = world.plan(now_wall);
        (delay, ending, Instant::now())
    };
    let mut flight = Flight { world: world.clone(), started: at, outcome: Outcome::Dropped };
    sleep(delay).await;
    match ending {
        Ending::Token { expiry } | Ending::SameToken { expiry } => {
            let mut world = lock(&world);
            let same = matches!(ending, Ending::SameToken { .. }) && !world.last_secret.is_empty();
            if !same {
                world.last_secret = format!("t{}", world.logins);
            }
            let secret = world.last_secret.clone();
            world.issued.entry(secret.clone()).or_default().push(Issued { at, at_wall: now_wall, expiry });
            flight.outcome = Outcome::Token;
            Ok(AccessToken::bearer(secret)?.with_expiry(expiry))
        }
        Ending::Fails { permanent, retry_after } => {
            flight.outcome = Outcome::Failed { retry_after: retry_after.unwrap_or_default() };
            let error = if permanent { LoginError::permanent("no") } else { LoginError::transient("no") };
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
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = World { random: random.fork(), ..World::default() };
        Self { random, world: Arc::new(Mutex::new(world)), clock: TestClock::default(), handles: Vec::new() }
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
            .backoff(SHORTEST, LONGEST)
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
        self.handles.push(builder.build().unwrap());
    }

    fn run(mut self) {
        self.build();
        let mut now = None;
        for _ in 0..self.random.u8(1..4) {
            now = Some(on_a_runtime(now, self.phase()));
        }
        on_a_runtime(now, self.trouble_stops());
    }

    /// Some steps on one runtime, which then ends, with whatever still runs on it.
    async fn phase(&mut self) {
        lock(&self.world).runtime_ends = false;
        let mut tasks = JoinSet::new();
        for _ in 0..self.random.u8(5..40) {
            self.step(&mut tasks).await;
            while let Some(done) = tasks.try_join_next() {
                done.unwrap();
            }
        }
        let everything_ends_in_time = async {
            while let Some(done) = tasks.join_next().await {
                done.unwrap()
            }
        };
        if self.random.bool() {
            timeout(LOGIN + WAIT + GRAIN, everything_ends_in_time).await.expect("somebody waits for ever");
        }
        lock(&self.world).runtime_ends = true;
    }

    async fn step(&mut self, tasks: &mut JoinSet<()>) {
        let handle = self.handles[self.random.usize(..self.handles.len())].clone();
        match self.random.u8(..20) {
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
                let start = Instant::now();
                tasks.spawn(async move {
                    let _ = handle.refresh().await;
                    assert!(start.elapsed() <= LOGIN + WAIT + GRAIN);
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
                world.superseded = world.running > 0;
            }
            11 => self.handles.push(handle),
            12 if self.handles.len() > 1 => drop(self.handles.swap_remove(0)),
            13 => {
                let by = self.random.i64(-7200..7200);
                self.clock.set(by);
                lock(&self.world).last_jump = Some(Instant::now());
            }
            14 => sleep(secs(self.random.u64(..10_000))).await,
            15..17 => sleep(secs(self.random.u64(..100))).await,
            _ => sleep(Duration::from_millis(self.random.u64(..2000))).await,
        }
    }

    /// Logins are good from now on: a request succeeds within one step of the back-off. Then nothing is left.
    async fn trouble_stops(&mut self) {
        {
            let mut world = lock(&self.world);
            (world.calm, world.runtime_ends) = (true, false);
        }
        let handle = self.handles.pop().unwrap();
        self.handles.clear();
        // A request sets the worker going; a login that hangs may have to be given up; then one pause.
        send(handle.clone(), self.world.clone(), self.clock.clone()).await;
        sleep(LOGIN + MOST_RETRY_AFTER.max(LONGEST) + GRAIN).await;
        let answer = client(&handle, &self.world, &self.clock).oneshot(request()).await;
        assert!(answer.expect("trouble has stopped").into_body(), "sent without a token");

        lock(&self.world).runtime_ends = true;
        drop(handle);
        sleep(GRAIN).await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
        assert_eq!(lock(&self.world).running, 0, "a login is left");
    }
}

/// Each runtime's paused clock starts anew; it is set to go on where the last one stopped.
fn on_a_runtime(before: Option<Instant>, work: impl Future<Output = ()>) -> Instant {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        if let Some(before) = before {
            advance(before.saturating_duration_since(Instant::now())).await;
        }
        work.await;
        Instant::now()
    })
}

/// The layer over a service that checks what is sent; answers whether there was a token.
fn client(
    handle: &AuthRefresher,
    world: &SharedWorld,
    clock: &TestClock,
) -> impl tower::Service<Request<()>, Response = Response<bool>, Error = Error, Future: Send> + use<> {
    let (world, clock) = (world.clone(), clock.clone());
    let inner = service_fn(move |request: Request<()>| {
        let header = request.headers().get(AUTHORIZATION).map(|header| header.to_str().unwrap().to_owned());
        if let Some(header) = &header {
            lock(&world).check_sent(header, clock.now());
        }
        async move { Ok::<_, BoxError>(Response::new(header.is_some())) }
    });
    tower::Layer::layer(&AuthRefreshLayer::new(handle.clone()), inner)
}

async fn send(handle: AuthRefresher, world: SharedWorld, clock: TestClock) {
    let start = Instant::now();
    // The worker sees an invalidation as soon as it runs; nobody else knows when that is, but that it takes no time.
    // So it is with a clock that was set, within a heartbeat.
    let excused = {
        let world = lock(&world);
        let just_set = world.last_jump.is_some_and(|jump| start - jump <= HEARTBEAT + GRAIN);
        world.invalidated == Some(start) || just_set
    };
    let live = matches!(handle.status().state, State::Ready | State::Refreshing | State::Stale);
    let answer = client(&handle, &world, &clock).oneshot(request()).await;
    assert!(start.elapsed() <= WAIT + GRAIN, "waited {:?}", start.elapsed());
    if live && !excused {
        assert_eq!(start.elapsed(), Duration::ZERO, "waited although there was a token: {answer:?}");
        assert!(answer.expect("failed although there was a token").into_body(), "sent without although there was one");
    }
}
