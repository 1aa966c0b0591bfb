//! Random schedules of everything that can happen to the keys of a handle, in paused time.
//!
//! A seed that fails is printed. `KEYED_SEED=<seed>` runs it alone, `KEYED_SEEDS=<n>` runs that many.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefreshers, Error, LoginError, LoginRequest,
    ReplayClone, test_util::TestClock,
};

use crate::support::{alive_tasks, secs};

const WAIT: Duration = secs(10);
const LOGIN: Duration = secs(30);
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = secs(60);
/// Timers are good to a millisecond, and what is due at the same instant happens in any order.
const GRAIN: Duration = Duration::from_millis(3);

#[test]
fn random_schedules_keep_the_promises_for_every_key() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("KEYED_SEED") {
        return run(seed);
    }
    for seed in 0..number("KEYED_SEEDS").unwrap_or(200) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            println!("KEYED_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// One refresher, as the factory created it.
#[derive(Default)]
struct Instance {
    is_logging_in: bool,
    last_start: Option<Instant>,
    last_failure: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Issued {
    key: u32,
    expires: Instant,
}

/// What is known outside of the crate, against which it is held.
#[derive(Default)]
struct World {
    random: fastrand::Rng,
    is_calm: bool,
    logins_at_once: usize,
    running: usize,
    instances: Vec<Instance>,
    issued: HashMap<String, Issued>,
}

type SharedWorld = Arc<Mutex<World>>;

fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs while a login does.
struct Flight {
    world: SharedWorld,
    instance: usize,
    has_failed: bool,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut world = lock(&self.world);
        world.running -= 1;
        let instance = &mut world.instances[self.instance];
        instance.is_logging_in = false;
        instance.last_failure = self.has_failed.then(Instant::now);
    }
}

async fn login(world: SharedWorld, instance: usize, key: u32) -> Result<AccessToken, LoginError> {
    let now = Instant::now();
    let (delay, ending) = {
        let mut world = lock(&world);
        world.running += 1;
        assert!(world.running <= world.logins_at_once, "{} logins at once", world.running);
        let state = &mut world.instances[instance];
        assert!(!state.is_logging_in, "two logins of one refresher at once");
        state.is_logging_in = true;
        if let Some(last) = state.last_start.replace(now) {
            assert!(now - last + GRAIN >= MIN_PAUSE, "logins started {:?} apart", now - last);
        }
        if let Some(failed) = state.last_failure {
            assert!(
                now - failed + GRAIN >= MIN_PAUSE,
                "login started {:?} after a failure",
                now - failed
            );
        }
        match world.is_calm {
            true => (0, 0),
            false => (world.random.u64(..4000), world.random.u8(..12)),
        }
    };
    let mut flight = Flight { world: world.clone(), instance, has_failed: true };
    sleep(Duration::from_millis(delay)).await;
    match ending {
        0..8 => {
            flight.has_failed = false;
            let mut world = lock(&world);
            let lifetime = secs(if world.is_calm { 3600 } else { world.random.u64(1..600) });
            let secret = format!("t{}", world.issued.len());
            world.issued.insert(secret.clone(), Issued { key, expires: now + lifetime });
            Ok(AccessToken::bearer(secret)
                .map_err(LoginError::transient)?
                .with_expires_in(lifetime))
        }
        8 => Err(LoginError::transient("issuer unavailable")),
        9 => Err(LoginError::permanent("wrong password")),
        10 => pending().await,
        _ => panic!("login panics by script"),
    }
}

async fn api(world: SharedWorld, request: Request<()>) -> Result<Response<()>, BoxError> {
    let key: u32 = *request.extensions().get().ok_or("no key")?;
    let (delay, status) = {
        let mut world = lock(&world);
        let secret =
            request.headers()[AUTHORIZATION].to_str()?.strip_prefix("Bearer ").ok_or("no token")?;
        let issued = world.issued[secret];
        assert_eq!(issued.key, key, "a request had the token of another key");
        assert!(Instant::now() <= issued.expires + GRAIN, "a request had an expired token");
        let (delay, rejects) = (world.random.u64(..100), world.random.u8(..6) == 0);
        if world.is_calm || !rejects {
            (delay, StatusCode::OK)
        } else {
            (delay, StatusCode::UNAUTHORIZED)
        }
    };
    sleep(Duration::from_millis(delay)).await;
    Ok(Response::builder().status(status).body(())?)
}

fn refreshers(
    world: &SharedWorld,
    random: &mut fastrand::Rng,
    capacity: usize,
) -> AuthRefreshers<u32> {
    lock(world).logins_at_once = random.usize(1..5);
    let (world, clock) = (world.clone(), TestClock::default());
    let pause = secs(random.u64(..300));
    let logins_at_once = lock(&world).logins_at_once;
    AuthRefreshers::builder(move |key: &u32| {
        let (world, key) = (world.clone(), *key);
        let instance = {
            let mut world = lock(&world);
            world.instances.push(Instance::default());
            world.instances.len() - 1
        };
        AuthRefresher::builder(service_fn(move |_: LoginRequest| {
            login(world.clone(), instance, key)
        }))
        .clock(clock.clone())
        .wait_timeout(WAIT)
        .login_timeout(LOGIN)
        .backoff(MIN_PAUSE, MAX_PAUSE)
    })
    .pause_when_idle(pause)
    .logins_at_once(logins_at_once)
    .capacity(capacity)
    .build()
    .unwrap()
}

fn run(seed: u64) {
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
    runtime.block_on(simulate(fastrand::Rng::with_seed(seed)));
}

async fn simulate(mut random: fastrand::Rng) {
    let world: SharedWorld =
        Arc::new(Mutex::new(World { random: random.fork(), ..World::default() }));
    let (keys, capacity) = (random.u32(1..12), random.usize(1..6));
    let refreshers = refreshers(&world, &mut random, capacity);
    let service =
        AuthRefreshLayer::keyed(refreshers.clone()).replay(ReplayClone).layer(service_fn({
            let world = world.clone();
            move |request| api(world.clone(), request)
        }));
    let request =
        |key: u32| Request::get("https://api.example.com/").extension(key).body(()).unwrap();
    let mut calls = JoinSet::new();
    for step in 0..random.u32(20..150) {
        let key = random.u32(..keys);
        match random.u8(..16) {
            0..9 => {
                let call = service.clone().oneshot(request(key));
                let limit =
                    if random.u8(..4) == 0 { secs(random.u64(..5)) } else { 3 * (WAIT + GRAIN) };
                calls.spawn(async move {
                    match timeout(limit, call).await {
                        Ok(Ok(_) | Err(Error::Login(_))) => {}
                        Ok(Err(error)) => panic!("{error:?}"),
                        Err(_) => assert!(limit < WAIT, "a call waited for more than {limit:?}"),
                    }
                });
            }
            9 => drop(refreshers.forget(&key)),
            10 => refreshers.peek(&key).iter().for_each(AuthRefresher::invalidate),
            11 => calls.abort_all(),
            12 => sleep(secs(random.u64(..1200))).await,
            _ => sleep(Duration::from_millis(random.u64(..3000))).await,
        }
        while let Some(call) = calls.try_join_next() {
            assert!(call.map_or_else(|error| error.is_cancelled(), |()| true), "a call panicked");
        }
        // A new key evicts those that are no longer in use.
        refreshers.get(&(keys + step)).unwrap();
        let in_use = calls.len() + lock(&world).running;
        assert!(
            refreshers.len() <= capacity + in_use,
            "{} keys, {in_use} in use",
            refreshers.len()
        );
    }
    while let Some(call) = calls.join_next().await {
        assert!(call.map_or_else(|error| error.is_cancelled(), |()| true), "a call panicked");
    }
    // The outage ends. Each key has a token after its pauses and the logins that still hang.
    lock(&world).is_calm = true;
    sleep(MAX_PAUSE + LOGIN * 12).await;
    for key in 0..keys {
        let response = service.clone().oneshot(request(key)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let refresher = refreshers.get(&key).unwrap();
        let token = refresher.token().await.unwrap();
        assert_eq!(lock(&world).issued[token.secret()].key, key);
    }
    refreshers.get(&u32::MAX).unwrap();
    assert!(refreshers.len() <= capacity, "{} keys", refreshers.len());
    drop((service, refreshers));
    sleep(GRAIN).await;
    assert_eq!((alive_tasks().await, lock(&world).running), (0, 0));
}
