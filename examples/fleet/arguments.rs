//! The command line.

use std::time::Duration;

/// Printed for an invalid argument, and for `--help`.
pub(crate) const USAGE: &str = "\
usage: fleet [options]

  --processes N    how many processes share the token (20)
  --seconds N      how long they send requests (20)
  --rate N         the requests of a process in a second (10)
  --lifetime N     the lifetime of a token, in seconds (3)
  --file           share it in a directory, not in Redis
  --kill           kill a process every 4 seconds: the one that logs in, then any, in turn
  --stop-redis N   freeze Redis after a third of the time, for N seconds
  --restart-redis  restart Redis, without its data, after half of the time
  --fail-over      start Redis with a replica and Sentinel, and kill the primary after half of the time
  --flush          delete the content of Redis after half of the time

--file, --fail-over and the other options for Redis exclude each other.";

/// What happens in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) processes: usize,
    pub(crate) duration: Duration,
    /// The requests of a process in a second.
    pub(crate) rate: u32,
    pub(crate) lifetime: Duration,
    pub(crate) file: bool,
    pub(crate) kill: bool,
    pub(crate) stop_redis: Option<Duration>,
    pub(crate) restart_redis: bool,
    pub(crate) fail_over: bool,
    pub(crate) flush: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            processes: 20,
            duration: Duration::from_secs(20),
            rate: 10,
            lifetime: Duration::from_secs(3),
            file: false,
            kill: false,
            stop_redis: None,
            restart_redis: false,
            fail_over: false,
            flush: false,
        }
    }
}

impl Plan {
    /// Parses the arguments. Returns `None` if they are invalid.
    pub(crate) fn new(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut plan = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut number = || arguments.next()?.parse().ok().filter(|number: &u32| *number > 0);
            let seconds = |number: u32| Duration::from_secs(number.into());
            match name.as_str() {
                "--processes" => plan.processes = number()?.try_into().ok()?,
                "--seconds" => plan.duration = seconds(number()?),
                "--rate" => plan.rate = number()?,
                "--lifetime" => plan.lifetime = seconds(number()?),
                "--file" => plan.file = true,
                "--kill" => plan.kill = true,
                "--stop-redis" => plan.stop_redis = Some(seconds(number()?)),
                "--restart-redis" => plan.restart_redis = true,
                "--fail-over" => plan.fail_over = true,
                "--flush" => plan.flush = true,
                _ => return None,
            }
        }
        // Those that disturb one server.
        let needs_redis = plan.stop_redis.is_some() || plan.restart_redis || plan.flush;
        let stores = [plan.file, plan.fail_over, needs_redis];
        (stores.iter().filter(|is_needed| **is_needed).count() <= 1).then_some(plan)
    }
}
