//! Random schedules of everything that can happen to processes that share a token, in paused time.
//!
//! Processes crash, freeze and are cut off; the store is slow, unavailable, loses what it contains, or goes back to an
//! earlier state; its clock is faster or slower than theirs; logins take long, fail, hang or panic; tokens are revoked. At each step:
//!
//! - No process adopts an older token than the one it has, an expired one, or one that it has reported as rejected.
//! - No record is replaced twice, and within an epoch a record never has an older token than the one before.
//! - No request of a process with a live token waits.
//!
//! When the faults end, the processes log in once per lifetime.
//!
//! A seed that fails is printed. `SIMULATION_SEED=<seed>` runs it alone. `SIMULATION_SEEDS=<n>` runs that many:
//!
//! ```sh
//! SIMULATION_SEEDS=100000 cargo test --release --features shared --test shared simulation
//! ```

use std::{
    collections::{HashMap, HashSet},
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    runtime::Builder,
    select, spawn,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, Service, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, LoginError, LoginReason, LoginRequest,
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, SharedToken, StoreFuture,
        TokenStore,
    },
    test_util::{InMemoryTokenStore, TestClock},
};

use crate::{
    layer,
    link::{Condition, Link},
    millis,
    support::secs,
};

/// Timers are good to a millisecond, and what is due at the same instant happens in any order.
const GRAIN: Duration = millis(5);
/// The longest time until a process recovers: a login, a pause after a failure, and a claim.
const RECOVERY: Duration = secs(150);

#[test]
fn random_schedules_keep_the_promises_of_the_protocol() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("SIMULATION_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(100);
    let first = number("SIMULATION_FIRST_SEED").unwrap_or(0);
    let mut events = Counts::default();
    for seed in first..first + seeds {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(counts) => events.add(&counts),
            Err(panic) => {
                println!("SIMULATION_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{seeds} schedules: {events:?}");
    // The schedules reach what they are to test.
    if seeds >= 100 {
        for (event, count) in &events.0 {
            assert!(*count > 0, "no schedule has {event}");
        }
    }
}

/// What happened, and how often.
#[derive(Debug)]
struct Counts(std::collections::BTreeMap<&'static str, u64>);

impl Default for Counts {
    fn default() -> Self {
        let events =
            ["adopted", "logged in", "put", "put refused", "claim denied", "extended", "rejected"];
        Self(events.map(|event| (event, 0)).into())
    }
}

impl Counts {
    fn count(&mut self, event: &'static str) {
        *self.0.entry(event).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (event, count) in &other.0 {
            *self.0.entry(event).or_default() += count;
        }
    }
}

#[derive(Clone, Copy)]
struct Issued {
    requested_at: Instant,
    expires: Instant,
}

/// What is known of a process, outside of the crate.
#[derive(Default)]
struct Seen {
    /// The token that its refresher has.
    last: Option<String>,
    rejected: HashSet<String>,
    /// The token of the login that ended last, if it succeeded.
    issued: Option<String>,
}

#[derive(Default)]
struct World {
    random: fastrand::Rng,
    is_calm: bool,
    lifetime: Duration,
    issued: HashMap<String, Issued>,
    revoked: HashSet<String>,
    processes: Vec<Seen>,
    replaced: HashSet<Revision>,
    /// The epoch of the record that was put last, and when its token was requested.
    newest: Option<([u8; 8], Instant)>,
    counts: Counts,
    violations: Vec<String>,
}

type SharedWorld = Arc<Mutex<World>>;

fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A panic would be caught, because this runs in user code.
    fn check(&mut self, is_kept: bool, violation: impl FnOnce() -> String) {
        if !is_kept {
            self.violations.push(violation());
        }
    }

    /// The process's refresher gets a token.
    fn check_token(&mut self, process: usize, token: &str, now: Instant) {
        let issued = self.issued[token];
        let is_own = self.processes[process].issued.as_deref() == Some(token);
        let is_rejected = self.processes[process].rejected.contains(token);
        self.check(!is_rejected, || format!("process {process} adopted rejected {token}"));
        // The store's clock can be 2 % slower. A login can take longer than the token lives.
        let expires = issued.expires + self.lifetime / 50 + GRAIN;
        self.check(is_own || now <= expires, || {
            format!("process {process} adopted expired {token}")
        });
        if let Some(last) = self.processes[process].last.replace(token.to_owned()) {
            let last_requested = self.issued[&last].requested_at;
            let is_newer = issued.requested_at > last_requested;
            self.check(is_newer, || {
                let older_by = last_requested.duration_since(issued.requested_at);
                format!("process {process} replaced {last} by {token}, older by {older_by:?}")
            });
        }
        self.counts.count(if is_own { "logged in" } else { "adopted" });
    }

    /// A process has replaced a record.
    fn check_put(&mut self, process: usize, expected: Option<Revision>, next: Revision) {
        self.counts.count("put");
        if let Some(expected) = expected {
            let is_first = self.replaced.insert(expected);
            self.check(is_first, || format!("process {process} replaced a record a second time"));
        }
        // Otherwise the record has an error.
        if let Some(token) = self.processes[process].issued.clone() {
            let requested_at = self.issued[&token].requested_at;
            let epoch = *next.as_bytes().first_chunk().unwrap();
            let is_newer = self
                .newest
                .is_none_or(|(last_epoch, last)| last_epoch != epoch || last < requested_at);
            self.check(is_newer, || format!("process {process} put older {token}"));
            self.newest = Some((epoch, requested_at));
        }
    }
}

/// The store of one process: slow at times, over a link, and by a clock that is not that of the process.
#[derive(Clone)]
struct ProcessStore {
    link: Link<InMemoryTokenStore>,
    world: SharedWorld,
    process: usize,
    /// How fast the store's clock is.
    rate: f64,
    /// Calls that the process no longer waits for still take place.
    is_detached: bool,
}

impl ProcessStore {
    async fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, BoxError>> + Send + 'static,
    ) -> Result<T, BoxError> {
        let [there, back] = {
            let random = &mut lock(&self.world).random;
            [(); 2].map(|()| millis(random.u64(..20)))
        };
        let call = async move {
            sleep(there).await;
            let result = call.await;
            sleep(back).await;
            result
        };
        match self.is_detached {
            true => spawn(call).await.unwrap(),
            false => call.await,
        }
    }

    fn count(&self, event: &'static str) {
        lock(&self.world).counts.count(event);
    }
}

impl TokenStore for ProcessStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.link.load(key)
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        Box::pin(async move {
            let (link, key, rate) = (self.link.clone(), *key, self.rate);
            let claimed = self.call(async move {
                link.claim(&key, expected, claim, time_to_live.div_f64(rate)).await
            });
            Ok(match claimed.await? {
                ClaimOutcome::Changed(Some(mut record)) => {
                    record.age = record.age.mul_f64(rate);
                    ClaimOutcome::Changed(Some(record))
                }
                ClaimOutcome::Denied { expires_in } => {
                    self.count("claim denied");
                    ClaimOutcome::Denied { expires_in: expires_in.mul_f64(rate) }
                }
                other => other,
            })
        })
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            self.count("extended");
            let (link, key, rate) = (self.link.clone(), *key, self.rate);
            self.call(async move { link.extend(&key, claim, time_to_live.div_f64(rate)).await })
                .await
        })
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let (link, key) = (self.link.clone(), *key);
            self.call(async move { link.release(&key, claim).await }).await
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let (this, key, next) = (self.clone(), *key, record.revision);
            self.call(async move {
                // What the link returns can be an error, although the record was put.
                let (observed, store) = (this.clone(), this.link.store().clone());
                let put = async move {
                    let put = store.put(&key, expected, claim, record).await?;
                    match put {
                        true => lock(&observed.world).check_put(observed.process, expected, next),
                        false => observed.count("put refused"),
                    }
                    Ok(put)
                };
                this.link.call(Box::pin(put)).await
            })
            .await
        })
    }
}

/// A shared login service whose process can freeze. It checks each token.
struct Observed {
    service: SharedToken,
    world: SharedWorld,
    process: usize,
    condition: watch::Receiver<Condition>,
}

impl Service<LoginRequest> for Observed {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        let (world, process) = (self.world.clone(), self.process);
        if let LoginReason::Rejected { .. } = request.reason {
            let mut world = lock(&world);
            let seen = &mut world.processes[process];
            if let Some(last) = seen.last.clone() {
                seen.rejected.insert(last);
                world.counts.count("rejected");
            }
        }
        let login = freezable(self.condition.clone(), self.service.call(request));
        Box::pin(async move {
            let result = login.await;
            if let Ok(token) = &result {
                lock(&world).check_token(process, token.secret(), Instant::now());
            }
            result
        })
    }
}

/// Does not poll a future while the process is frozen or dead.
async fn freezable<F: Future>(mut condition: watch::Receiver<Condition>, future: F) -> F::Output {
    let stands_still =
        |condition: &Condition| matches!(condition, Condition::Frozen | Condition::Dead);
    let mut future = pin!(future);
    loop {
        if condition.wait_for(|condition| !stands_still(condition)).await.is_err() {
            pending::<()>().await;
        }
        select! {
            biased;
            _ = condition.wait_for(stands_still) => {}
            output = &mut future => return output,
        }
    }
}

async fn login(world: SharedWorld, process: usize) -> Result<AccessToken, BoxError> {
    let requested_at = Instant::now();
    let (delay, ending) = {
        let mut world = lock(&world);
        world.processes[process].issued = None;
        match world.is_calm {
            true => (millis(50), 0),
            false => {
                let delay = match world.random.u8(..8) {
                    0 => world.random.u64(..20_000),
                    1 | 2 => world.random.u64(..5_000),
                    _ => world.random.u64(..300),
                };
                (millis(delay), world.random.u8(..40))
            }
        }
    };
    sleep(delay).await;
    match ending {
        0..33 => {
            let mut world = lock(&world);
            let secret = format!("t{}", world.issued.len());
            let lifetime = world.lifetime;
            let issued = Issued { requested_at, expires: requested_at + lifetime };
            world.issued.insert(secret.clone(), issued);
            world.processes[process].issued = Some(secret.clone());
            Ok(AccessToken::bearer(secret)?.with_expires_in(lifetime))
        }
        33..37 => Err("issuer unavailable".into()),
        37 => Err(LoginError::permanent("wrong password").into()),
        38 => pending().await,
        _ => panic!("login panics by script"),
    }
}

struct Process {
    refresher: AuthRefresher,
    condition: watch::Sender<Condition>,
    number: usize,
}

impl Process {
    fn start(world: &SharedWorld, store: &InMemoryTokenStore, clock: &TestClock) -> Self {
        let (condition, link) = Link::new(store.clone());
        let (number, rate, is_detached, seed) = {
            let mut world = lock(world);
            world.processes.push(Seen::default());
            let rate = 0.98 + 0.04 * world.random.f64();
            let is_detached = world.random.bool();
            (world.processes.len() - 1, rate, is_detached, world.random.u64(..))
        };
        let store = ProcessStore { link, world: world.clone(), process: number, rate, is_detached };
        let (inner, receiver) = (world.clone(), condition.subscribe());
        let login = service_fn(move |_: LoginRequest| {
            freezable(receiver.clone(), login(inner.clone(), number))
        });
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let shared = layer(store).rng(move || random.lock().unwrap().u64(..));
        let observed = Observed {
            service: shared.layer(login),
            world: world.clone(),
            process: number,
            condition: condition.subscribe(),
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let refresher = AuthRefresher::builder(observed)
            .rng(move || random.u64(..))
            .clock(clock.clone())
            .pause_when_idle(secs(100_000))
            .build()
            .unwrap();
        Self { refresher, condition, number }
    }

    /// A request of the process: it gets its live token at once, and reports a token that was revoked.
    fn request(&self, world: &SharedWorld, waiting: &mut JoinSet<()>) {
        if matches!(*self.condition.borrow(), Condition::Frozen | Condition::Dead) {
            return;
        }
        let token = self.refresher.token().now_or_never();
        let world = lock(world);
        if let Some(last) = &world.processes[self.number].last {
            // By the store's clock the token can be 2 % older.
            let remaining = world.issued[last].expires - world.lifetime / 40;
            let is_live = Instant::now() + GRAIN < remaining;
            let is_immediate = matches!(&token, Some(Ok(_)));
            let is_rejected = world.processes[self.number].rejected.contains(last);
            assert!(
                !is_live || is_immediate || is_rejected || world.revoked.contains(last),
                "a request of process {} waited while {last} was live",
                self.number
            );
        }
        match token {
            Some(Ok(token)) if world.revoked.contains(token.secret()) => {
                drop(world);
                self.refresher.reject(&token, None);
            }
            Some(_) => {}
            None if waiting.len() < 32 => {
                let refresher = self.refresher.clone();
                waiting.spawn(async move { drop(refresher.token().await) });
            }
            None => {}
        }
    }
}

fn run(seed: u64) -> Counts {
    // Panics by script are not printed.
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"login panics by script") {
                hook(info);
            }
        }));
    });
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(simulate(fastrand::Rng::with_seed(seed)))
}

async fn simulate(mut random: fastrand::Rng) -> Counts {
    // A clock must be able to represent times before the start.
    sleep(secs(10_000)).await;
    // Shorter tokens can be older than they look by the time of a put.
    let lifetime = secs(random.u64(48..200));
    let world: SharedWorld =
        Arc::new(Mutex::new(World { random: random.fork(), lifetime, ..World::default() }));
    let (store, clock) = (InMemoryTokenStore::default(), TestClock::default());
    let mut processes: Vec<_> =
        (0..random.usize(3..8)).map(|_| Process::start(&world, &store, &clock)).collect();
    let mut waiting = JoinSet::new();
    let mut snapshot = store.snapshot();
    for _ in 0..random.u32(20..120) {
        let at = random.usize(..processes.len());
        match random.u8(..36) {
            0 => {
                processes[at].condition.send_replace(Condition::Dead);
                processes[at] = Process::start(&world, &store, &clock);
            }
            1 | 2 => drop(processes[at].condition.send_replace(Condition::Frozen)),
            3 => drop(processes[at].condition.send_replace(Condition::CutOff)),
            4..8 => drop(processes[at].condition.send_replace(Condition::Well)),
            8 => store.set_delay(millis(random.u64(..1200))),
            9 | 10 => store.set_delay(Duration::ZERO),
            11 => store.set_available(false),
            12 | 13 => store.set_available(true),
            14 => store.flush(),
            15 => store.evict_records(),
            16 => store.lose_claims(),
            17 => {
                let mut world = lock(&world);
                let current = processes[at].number;
                let current = world.processes[current].last.clone();
                world.revoked.extend(current);
            }
            18 => {
                let refresher = processes[at].refresher.clone();
                waiting.spawn(async move { drop(refresher.refresh().await) });
            }
            19 => snapshot = store.snapshot(),
            20 => {
                // A failover to a replica that is behind: the same record can be replaced again.
                store.restore(&snapshot);
                let mut world = lock(&world);
                (world.replaced, world.newest) = (HashSet::new(), None);
            }
            21 | 22 => {
                // A process is cut off while another one puts a token, gets one of its own, and is well again.
                let other = random.usize(..processes.len());
                processes[at].condition.send_replace(Condition::CutOff);
                for process in [other, at, at] {
                    let refresher = processes[process].refresher.clone();
                    waiting.spawn(async move { drop(refresher.refresh().await) });
                    sleep(millis(random.u64(500..3000))).await;
                    if random.bool() {
                        processes[at].condition.send_replace(Condition::Well);
                    }
                }
            }
            23..28 => sleep(millis(random.u64(..300))).await,
            28..32 => sleep(millis(random.u64(..8_000))).await,
            _ => sleep(lifetime.mul_f64(random.f64() / 2.0)).await,
        }
        sleep(millis(random.u64(1..50))).await;
        processes.iter().for_each(|process| process.request(&world, &mut waiting));
        while let Some(ended) = waiting.try_join_next() {
            ended.unwrap();
        }
        assert_eq!(lock(&world).violations, [""; 0]);
    }
    // The faults end.
    lock(&world).is_calm = true;
    store.set_delay(Duration::ZERO);
    store.set_available(true);
    for process in &processes {
        process.condition.send_replace(Condition::Well);
    }
    let mut pass = async |duration: Duration| {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            sleep((duration / 40).min(secs(5))).await;
            processes.iter().for_each(|process| process.request(&world, &mut waiting));
        }
    };
    pass(RECOVERY + lifetime * 2).await;
    let logins = lock(&world).issued.len();
    pass(lifetime * 3).await;
    let logins = lock(&world).issued.len() - logins;
    // A token is refreshed after 65 % of its lifetime at the earliest.
    assert!(logins <= 6, "{} processes logged in {logins} times in 3 lifetimes", processes.len());
    let tokens: HashSet<_> = processes
        .iter()
        .map(|process| process.refresher.token().now_or_never().unwrap().unwrap())
        .map(|token| token.secret().to_owned())
        .collect();
    assert!(tokens.len() <= 2, "{tokens:?}");
    assert_eq!(lock(&world).violations, [""; 0]);
    std::mem::take(&mut lock(&world).counts)
}
