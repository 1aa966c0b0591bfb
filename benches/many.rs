//! Measures the cost of many refreshers: memory, the time to create and drop them, and their activity while idle.
//!
//! `cargo bench --bench many -- [REFRESHERS] [SECONDS]`, by default 100,000 and 60. Linux only, as it reads `/proc`.
//! With `--features keyed`, it also measures as many keys of one handle.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    env, fs,
    future::ready,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use tokio::{
    runtime::{Builder, Handle},
    time::sleep,
};
use tower::service_fn;
use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginRequest, State};

/// The length of a JWT with a few claims, in bytes.
const SECRET: usize = 900;
const LIFETIME: Duration = Duration::from_secs(3600);

fn refresher(pause_when_idle: Option<Duration>) -> AuthRefresher {
    let login = service_fn(|_: LoginRequest| {
        let token = AccessToken::bearer("x".repeat(SECRET)).map_err(BoxError::from);
        ready(token.map(|token| token.with_expires_in(LIFETIME)))
    });
    let builder = AuthRefresher::builder(login).jitter(false);
    match pause_when_idle {
        Some(after) => builder.pause_when_idle(after).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

async fn log_in(refreshers: &[AuthRefresher]) {
    for refresher in refreshers {
        refresher.ready().await.unwrap();
    }
}

/// Measures the bytes of each refresher: after creation, with a token and a worker, and idle with a token.
fn bytes(count: usize) {
    let mut kept = Vec::with_capacity(count);
    let created =
        measure(|| kept.extend((0..count).map(|_| refresher(Some(Duration::ZERO))))).bytes_current;
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let with_worker = measure(|| runtime.block_on(log_in(&kept))).bytes_current;
    let ended = measure(|| {
        runtime.block_on(async {
            // The refresh is due, but no request uses the token.
            sleep(LIFETIME - Duration::from_secs(299)).await;
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        });
    });
    assert!(kept.iter().all(|refresher| refresher.status().state == State::Idle));
    let each = |bytes: i64| bytes / count as i64;
    println!(
        "bytes of each refresher: {} created, {} with a token of {SECRET} bytes and a worker, {} idle with its token",
        each(created),
        each(created + with_worker),
        each(created + with_worker + ended.bytes_current),
    );
}

/// Returns how often the threads of this process have woken up.
fn wake_ups() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let status =
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
    let switches = |status: String| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:").map(str::to_owned));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    status.map(switches).sum()
}

/// Returns the CPU time of this process, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Measures the activity of idle refreshers.
fn activity(count: usize, seconds: u64) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let start = Instant::now();
    let refreshers: Vec<_> = (0..count).map(|_| refresher(None)).collect();
    let created = start.elapsed();
    let start = Instant::now();
    runtime.block_on(log_in(&refreshers));
    let logged_in = start.elapsed();
    let tasks = runtime.metrics().num_alive_tasks();
    let (woken, ticks) = (wake_ups(), cpu_ticks());
    std::thread::sleep(Duration::from_secs(seconds));
    let (woken, ticks) = (wake_ups() - woken, cpu_ticks() - ticks);
    let start = Instant::now();
    drop(refreshers);
    let dropped = start.elapsed();
    let micros = |time: Duration| time.as_micros() as f64 / count as f64;
    println!(
        "{count} refreshers with a token each, {tasks} tasks, in {seconds} s: {:.2} wake-ups a second, {:.3} % of a core",
        woken as f64 / seconds as f64,
        ticks as f64 / seconds as f64,
    );
    println!(
        "microseconds each: {:.1} to create, {:.1} to log in, {:.1} to drop",
        micros(created),
        micros(logged_in),
        micros(dropped),
    );
}

/// Measures the keys of one handle, which had a request each and are idle: their bytes, and what they do.
#[cfg(feature = "keyed")]
fn idle_keys(count: usize, seconds: u64) {
    use tower_auth_refresh::AuthRefreshers;

    const SHORT: Duration = Duration::from_secs(2);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let factory = |_: &u64| {
        AuthRefresher::builder(service_fn(|_: LoginRequest| {
            let token = AccessToken::bearer("x".repeat(SECRET)).map_err(BoxError::from);
            ready(token.map(|token| token.with_expires_in(SHORT)))
        }))
    };
    // The shards of the cache do not fill evenly.
    let handle = AuthRefreshers::builder(factory)
        .pause_when_idle(Duration::ZERO)
        .capacity(count + count / 10);
    let refreshers = handle.build().unwrap();
    let resident = resident_kibibytes();
    runtime.block_on(async {
        for key in 0..count as u64 {
            refreshers.get(&key).unwrap().ready().await.unwrap();
        }
        sleep(2 * SHORT).await;
    });
    assert_eq!(refreshers.len(), count);
    let bytes = (resident_kibibytes() - resident) * 1024 / count as u64;
    let tasks = runtime.metrics().num_alive_tasks();
    let (woken, ticks) = (wake_ups(), cpu_ticks());
    std::thread::sleep(Duration::from_secs(seconds));
    let (woken, ticks) = (wake_ups() - woken, cpu_ticks() - ticks);
    println!(
        "{count} idle keys of one handle: {bytes} bytes each with a token, {tasks} tasks, in {seconds} s: {:.2} wake-ups a \
         second, {:.3} % of a core",
        woken as f64 / seconds as f64,
        ticks as f64 / seconds as f64,
    );
}

/// Returns how much memory this process has.
#[cfg(feature = "keyed")]
fn resident_kibibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn main() {
    if env::args().any(|argument| argument == "--test") {
        return;
    }
    let numbers: Vec<u64> =
        env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let count = numbers.first().map_or(100_000, |count| *count as usize);
    let seconds = numbers.get(1).copied().unwrap_or(60);
    // First, because it measures the memory of the process.
    #[cfg(feature = "keyed")]
    idle_keys(count, seconds);
    bytes(count);
    activity(count, seconds);
}
