//! What happens to the token, a line each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tokio::time::Instant;
use tower_auth_refresh::{Expiry, State, Status, StatusReceiver};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Counts {
    pub(crate) fn summary(&self) -> String {
        format!("requests={} failed={}", self.requests.load(Relaxed), self.failed.load(Relaxed))
    }
}

/// Prints what happens to the token, as it happens.
#[derive(Clone)]
pub(crate) struct Timeline {
    start: Instant,
    counts: Arc<Counts>,
}

impl Timeline {
    pub(crate) fn start(counts: Arc<Counts>) -> Self {
        println!(
            "(A token of 6 seconds begins with 5.0: the second that the server's Date header leaves out is given up.)"
        );
        println!("{:>7}  {:<44} {:>5} {:>6} {:>9}", "time", "what happened", "token", "left", "requests");
        Self { start: Instant::now(), counts }
    }

    pub(crate) fn tell(&self, what: &str, status: &Status) {
        let time = self.start.elapsed().as_secs_f64();
        let token = if status.generation == 0 { "-".to_owned() } else { format!("#{}", status.generation) };
        let left_of_it = match status.expires {
            Some(Expiry::At(end)) => {
                let left = end.duration_since(SystemTime::now()).unwrap_or_default();
                format!("{:.1}s", left.as_secs_f64())
            }
            Some(_) => "?".to_owned(),
            None => "-".to_owned(),
        };
        println!("{time:>6.2}s  {what:<44} {token:>5} {left_of_it:>6} {:>9}", self.counts.requests.load(Relaxed));
    }

    pub(crate) async fn watch(self, mut watched: StatusReceiver) {
        let mut before = watched.borrow_and_update();
        while watched.changed().await.is_ok() {
            let status = watched.borrow_and_update();
            if status.generation > before.generation {
                self.tell("a new token is in use", &status);
            } else if status.consecutive_failures > before.consecutive_failures {
                self.tell("login failed; it will be tried again", &status);
            } else if status.state != before.state {
                match status.state {
                    State::LoggingIn => self.tell("logging in; requests wait for the token", &status),
                    State::Refreshing => self.tell("logging in; requests go on", &status),
                    State::Failed => self.tell("the token has ended", &status),
                    _ => {}
                }
            }
            before = status;
        }
    }
}
