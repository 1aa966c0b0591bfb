//! Starts the processes, disturbs them, and prints the results.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use tokio::time::{interval, sleep, sleep_until};
use tower::BoxError;

use super::{
    arguments::Plan,
    counts::{Counts, Recorded},
    store::Store,
    worker,
};

const KILL_INTERVAL: Duration = Duration::from_secs(4);

/// What happens to Redis.
#[derive(Clone, Copy, Debug)]
enum Event {
    Freeze,
    Continue,
    Restart,
    FailOver,
    Flush,
}

pub(crate) struct Supervisor {
    /// Killed before the store stops.
    processes: Vec<Process>,
    program: PathBuf,
    address: SocketAddr,
    plan: Plan,
    counts: Counts,
    store: Store,
    /// The number of the next process.
    next: usize,
    killed: u32,
}

struct Process {
    number: usize,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Supervisor {
    pub(crate) fn new(
        program: &Path,
        address: SocketAddr,
        plan: Plan,
        counts: Counts,
        store: Store,
    ) -> Self {
        let program = program.to_owned();
        Self { program, address, plan, counts, store, processes: vec![], next: 0, killed: 0 }
    }

    pub(crate) async fn run(mut self) -> Result<Recorded, BoxError> {
        for _ in 0..self.plan.processes {
            let process = self.spawn()?;
            self.processes.push(process);
        }

        let mut events = self.events();
        let mut seconds = interval(Duration::from_secs(1));
        let mut kills = interval(KILL_INTERVAL);
        kills.reset();
        let mut logins = self.counts.login.subscribe();
        let mut kill_next_login = false;
        let mut login_killed_at: Option<Instant> = None;
        let mut longest_takeover = Duration::ZERO;
        let end = sleep(self.plan.duration);
        tokio::pin!(end);
        loop {
            let next_event = events.front().copied();
            tokio::select! {
                () = &mut end => break,
                _ = seconds.tick() => self.print_second(),
                _ = kills.tick(), if self.plan.kill => {
                    if self.killed.is_multiple_of(2) {
                        kill_next_login = true;
                    } else {
                        let index = self.killed as usize / 2 % self.processes.len();
                        self.kill(index)?;
                    }
                }
                Ok(()) = logins.changed() => {
                    let Some((number, at)) = *logins.borrow_and_update() else { continue };
                    if let Some(killed_at) = login_killed_at.take() {
                        longest_takeover = longest_takeover.max(at.duration_since(killed_at));
                    }
                    let process = self.processes.iter().position(|process| process.number == number);
                    if let Some(index) = process.filter(|_| kill_next_login) {
                        kill_next_login = false;
                        login_killed_at = Some(Instant::now());
                        self.kill(index)?;
                    }
                }
                () = sleep_until_event(next_event), if next_event.is_some() => {
                    if let Some((_, event)) = events.pop_front() {
                        self.disturb(event).await?;
                    }
                }
            }
        }

        let recorded = self.counts.so_far();
        self.print_results(&recorded, longest_takeover).await?;
        Ok(recorded)
    }

    fn spawn(&mut self) -> Result<Process, BoxError> {
        let number = self.next;
        self.next += 1;
        let child = Command::new(&self.program)
            .env(worker::PROCESS, number.to_string())
            .env(worker::SERVER, self.address.to_string())
            .env(worker::STORE, self.store.location())
            .env(worker::RATE, self.plan.rate.to_string())
            .spawn()?;
        Ok(Process { number, child })
    }

    /// Kills a process, as with `kill -9`, and starts another one.
    fn kill(&mut self, index: usize) -> Result<(), BoxError> {
        self.killed += 1;
        let process = self.processes.swap_remove(index);
        println!("      process {} killed", process.number);
        drop(process);
        let process = self.spawn()?;
        self.processes.push(process);
        Ok(())
    }

    /// Returns what happens to Redis, and when, in order.
    fn events(&self) -> VecDeque<(tokio::time::Instant, Event)> {
        let (start, duration) = (tokio::time::Instant::now(), self.plan.duration);
        let mut events = vec![];
        if let Some(time) = self.plan.stop_redis {
            events.push((start + duration / 3, Event::Freeze));
            events.push((start + duration / 3 + time, Event::Continue));
        }
        if self.plan.restart_redis {
            events.push((start + duration / 2, Event::Restart));
        }
        if self.plan.fail_over {
            events.push((start + duration / 2, Event::FailOver));
        }
        if self.plan.flush {
            events.push((start + duration / 2, Event::Flush));
        }
        events.sort_by_key(|(at, _)| *at);
        events.into()
    }

    async fn disturb(&mut self, event: Event) -> Result<(), BoxError> {
        println!("      Redis: {event:?}");
        match (&mut self.store, event) {
            (Store::Redis(redis), Event::Freeze) => redis.signal("-STOP"),
            (Store::Redis(redis), Event::Continue) => redis.signal("-CONT"),
            (Store::Redis(redis), Event::Restart) => redis.restart().await,
            (Store::Redis(redis), Event::Flush) => redis.execute("FLUSHALL").await,
            (Store::Sentinel(sentinel), Event::FailOver) => sentinel.kill_primary().await,
            _ => Ok(()),
        }
    }

    fn print_second(&self) {
        let (recorded, second) = (self.counts.so_far(), self.counts.second());
        let logins = second.checked_sub(1).map_or(0, |second| recorded.logins_of_second(second));
        let (requests, failed) = recorded.requests();
        println!("{second:3}s  requests={requests} failed={failed} logins={logins}");
    }

    async fn print_results(
        &self,
        recorded: &Recorded,
        longest_takeover: Duration,
    ) -> Result<(), BoxError> {
        let Recorded { logins, unnecessary, interrupted, rejected, accepted_late, .. } = recorded;
        let necessary = logins.saturating_sub(*unnecessary);
        let (requests, failed) = recorded.requests();
        println!(
            "processes={} requests={requests} failed={failed} rejected={rejected} accepted_late={accepted_late}",
            self.processes.len(),
        );
        println!(
            "logins={logins} unnecessary={unnecessary} logins/necessary={:.2} most_logins_in_a_second={}",
            f64::from(*logins) / f64::from(necessary.max(1)),
            recorded.most_logins_in_a_second(),
        );
        if self.plan.kill {
            println!(
                "killed={} interrupted_logins={interrupted} longest_takeover={longest_takeover:?}",
                self.killed,
            );
        }
        if let Some((scripts, others)) = self.store.commands().await? {
            let shares = f64::from(necessary.max(1)) * self.processes.len() as f64;
            println!(
                "redis_commands={scripts} redis_commands/processes/necessary={:.2} to_connect={others}",
                scripts as f64 / shares,
            );
        }
        Ok(())
    }
}

async fn sleep_until_event(event: Option<(tokio::time::Instant, Event)>) {
    if let Some((at, _)) = event {
        sleep_until(at).await;
    }
}
