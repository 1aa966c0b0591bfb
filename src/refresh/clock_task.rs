//! [`ClockRegistration`]: wakes workers when the wall clock and the monotonic clock disagree.
//!
//! A worker sleeps on the monotonic clock. That clock stands still while a machine is suspended, and the wall clock can
//! be set. One task for each runtime and [`Clock`] compares the two, and wakes its workers if one has jumped. A worker
//! that only sleeps causes no wake-up.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    sync::Notify,
    task::AbortHandle,
    time::sleep,
};

use crate::{
    clock::{Clock, Timestamp},
    panic,
};

/// How often the clocks are compared.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// The clocks are read one after the other, and the wall clock is slewed: a difference smaller than this is not a jump.
const TOLERANCE: Duration = Duration::from_millis(100);

/// One task for each runtime and clock. It owns the clock, so the address in the key stays unique.
type Key = (runtime::Id, usize);

/// No user code runs under this lock. Clocks are dropped and workers woken after its release.
static CLOCK_TASKS: LazyLock<Mutex<HashMap<Key, ClockTask>>> = LazyLock::new(Mutex::default);

struct ClockTask {
    task: AbortHandle,
    _clock: Arc<dyn Clock>,
    workers: HashMap<usize, Arc<Notify>>,
}

/// Nothing panics under this lock, so a poisoned one is still valid.
fn clock_tasks() -> MutexGuard<'static, HashMap<Key, ClockTask>> {
    CLOCK_TASKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The registration of one worker, until it is dropped.
#[derive(Debug)]
pub(crate) struct ClockRegistration {
    key: Key,
    worker: usize,
}

impl ClockRegistration {
    /// Registers a worker of the current runtime, which `wake` wakes. `None` outside of a runtime.
    pub(crate) fn register(clock: &Arc<dyn Clock>, wake: &Arc<Notify>) -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        let key = (runtime.id(), Arc::as_ptr(clock).addr());
        let worker = Arc::as_ptr(wake).addr();
        let registration = Self { key, worker };
        if let Some(clock_task) = clock_tasks().get_mut(&key) {
            clock_task.workers.insert(worker, wake.clone());
            return Some(registration);
        }
        // The task is spawned outside the lock. If another worker has registered a task since, this one is aborted.
        let task = runtime.spawn(compare_clocks(key, clock.clone())).abort_handle();
        let mut clock_task =
            Some(ClockTask { task, _clock: clock.clone(), workers: HashMap::new() });
        match clock_tasks().entry(key) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().workers.insert(worker, wake.clone());
            }
            Entry::Vacant(entry) => {
                if let Some(mut clock_task) = clock_task.take() {
                    clock_task.workers.insert(worker, wake.clone());
                    entry.insert(clock_task);
                }
            }
        }
        drop(clock_task);
        Some(registration)
    }
}

impl Drop for ClockRegistration {
    fn drop(&mut self) {
        let removed = {
            let mut clock_tasks = clock_tasks();
            let Some(clock_task) = clock_tasks.get_mut(&self.key) else { return };
            let wake = clock_task.workers.remove(&self.worker);
            let clock_task =
                if clock_task.workers.is_empty() { clock_tasks.remove(&self.key) } else { None };
            (wake, clock_task)
        };
        // The clock is user code.
        panic::catch(|| drop(removed));
    }
}

impl Drop for ClockTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn compare_clocks(key: Key, clock: Arc<dyn Clock>) {
    let read = || panic::catch(|| Timestamp::now(&*clock));
    let mut last = read();
    loop {
        sleep(CLOCK_CHECK_INTERVAL).await;
        let now = read();
        let before = mem::replace(&mut last, now);
        if before.zip(now).is_none_or(|(before, now)| disagree(before, now)) {
            let workers: Vec<_> = clock_tasks()
                .get(&key)
                .into_iter()
                .flat_map(|w| w.workers.values().cloned())
                .collect();
            for worker in workers {
                worker.notify_one();
            }
        } else {
            // Small differences add up to a jump.
            last = before;
        }
    }
}

/// Returns whether one clock has advanced more than the other between two readings.
fn disagree(before: Timestamp, now: Timestamp) -> bool {
    let monotonic = now.monotonic.saturating_duration_since(before.monotonic);
    now.wall.duration_since(before.wall).map_or(true, |wall| wall.abs_diff(monotonic) > TOLERANCE)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn clocks_disagree_if_one_has_jumped() {
        let before = Timestamp {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1000),
            monotonic: Instant::now(),
        };
        let millis = Duration::from_millis;
        for (wall, monotonic, jumped) in [
            (15_000, 15_000, false),
            (15_099, 15_000, false),
            (15_101, 15_000, true),
            (15_000, 20_000, true),
        ] {
            let now = Timestamp {
                wall: before.wall + millis(wall),
                monotonic: before.monotonic + millis(monotonic),
            };
            assert_eq!(disagree(before, now), jumped, "{wall} {monotonic}");
        }
        assert!(disagree(before, Timestamp { wall: before.wall - millis(1), ..before }));
    }

    #[tokio::test(start_paused = true)]
    async fn workers_of_a_runtime_share_one_clock_task() {
        let clock: Arc<dyn Clock> = Arc::new(crate::SystemClock);
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let wakes: Vec<_> = (0..100).map(|_| Arc::new(Notify::new())).collect();
        let mut registrations: Vec<_> =
            wakes.iter().map(|wake| ClockRegistration::register(&clock, wake)).collect();
        assert_eq!(tasks(), 1);
        registrations.truncate(1);
        tokio::task::yield_now().await;
        assert_eq!(tasks(), 1);
        registrations.clear();
        tokio::task::yield_now().await;
        assert_eq!(tasks(), 0);
    }
}
