//! Prints each change of a refresher's status on a line.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tokio::time::Instant;
use tower_auth_refresh::{Expiry, State, Status, StatusReceiver};

/// The requests of a run.
#[derive(Debug, Default)]
pub struct Counts {
    /// The number of requests.
    pub requests: AtomicU64,
    /// The number of requests that failed.
    pub failed: AtomicU64,
}

impl Counts {
    /// Formats the counts.
    pub fn summary(&self) -> String {
        format!("requests={} failed={}", self.requests.load(Relaxed), self.failed.load(Relaxed))
    }
}

/// Prints the changes with the time since its start and the number of requests so far.
#[derive(Clone, Debug)]
pub struct Timeline {
    start: Instant,
    counts: Arc<Counts>,
}

impl Timeline {
    /// Prints the heading and starts the time.
    pub fn start(counts: Arc<Counts>) -> Self {
        println!("{:>7}  {:<44} {:>5} {:>6} {:>9}", "time", "event", "token", "left", "requests");
        Self { start: Instant::now(), counts }
    }

    /// Prints one line.
    pub fn log(&self, event: &str, status: &Status) {
        let time = self.start.elapsed().as_secs_f64();
        let token =
            if status.generation == 0 { "-".to_owned() } else { format!("#{}", status.generation) };
        let left = match status.expires {
            Some(Expiry::At(expiry)) => {
                let left = expiry.duration_since(SystemTime::now()).unwrap_or_default();
                format!("{:.1}s", left.as_secs_f64())
            }
            Some(_) => "?".to_owned(),
            None => "-".to_owned(),
        };
        println!(
            "{time:>6.2}s  {event:<44} {token:>5} {left:>6} {:>9}",
            self.counts.requests.load(Relaxed)
        );
    }

    /// Prints each change of the status until the refresher is gone.
    pub async fn follow(self, mut statuses: StatusReceiver) {
        let mut previous = statuses.borrow_and_update();
        while statuses.changed().await.is_ok() {
            let status = statuses.borrow_and_update();
            if status.generation > previous.generation {
                self.log("new token in use", &status);
            } else if status.consecutive_failures > previous.consecutive_failures {
                self.log("login failed, retry scheduled", &status);
            } else if status.state != previous.state {
                match status.state {
                    State::LoggingIn => self.log("login started, requests wait for it", &status),
                    State::Refreshing => self.log("refresh started, requests continue", &status),
                    State::Failed => self.log("token expired", &status),
                    _ => {}
                }
            }
            previous = status;
        }
    }
}
