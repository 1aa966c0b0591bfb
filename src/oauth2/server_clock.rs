//! [`ServerClock`]: the token endpoint's clock, as its last response shows it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{Clock, clock::Timestamp};

/// How far the local wall clock may deviate from the monotonic clock. Beyond it, one of them has jumped or stood still.
const MAX_DRIFT: Duration = Duration::from_secs(2);
/// How far a local time may deviate from the server's.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// The token endpoint's clock: the last `Date` of its responses (RFC 9110, section 6.6.1), and when it was read.
///
/// The `Date` of metadata is not used, because metadata can come from a cache.
#[derive(Default)]
pub(super) struct ServerClock(Option<(SystemTime, Timestamp)>);

impl ServerClock {
    pub(super) fn record(&mut self, server_time: SystemTime, local: &Arc<dyn Clock>) {
        self.0 = Some((server_time, Timestamp::now(local)));
    }

    /// Returns the server's time, or `None` if it is unknown or a local clock has jumped since the last response.
    pub(super) fn now(&self, local: &Arc<dyn Clock>) -> Option<SystemTime> {
        let (server_time, read_at) = self.0?;
        let now = Timestamp::now(local);
        let elapsed = now.monotonic.saturating_duration_since(read_at.monotonic);
        let drift = difference(read_at.wall.checked_add(elapsed)?, now.wall);
        if drift <= MAX_DRIFT { server_time.checked_add(elapsed) } else { None }
    }

    /// Returns whether the server's clock is far from `time`, which is read now.
    pub(super) fn contradicts(&self, time: SystemTime, local: &Arc<dyn Clock>) -> bool {
        self.now(local).is_some_and(|now| difference(now, time) > MAX_SKEW)
    }
}

fn difference(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::advance;

    use super::*;

    #[derive(Debug)]
    struct SetClock(Mutex<SystemTime>);

    impl Clock for SetClock {
        fn now(&self) -> SystemTime {
            *self.0.lock().unwrap()
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn server_time_advances_until_local_clock_jumps() {
        let clock = Arc::new(SetClock(Mutex::new(at(9_000))));
        let local: Arc<dyn Clock> = clock.clone();
        let mut server = ServerClock::default();
        assert_eq!(server.now(&local), None);
        server.record(at(1_000), &local);
        assert!(server.contradicts(at(1_006), &local) && !server.contradicts(at(1_005), &local));
        assert!(server.contradicts(at(994), &local) && !server.contradicts(at(995), &local));

        advance(Duration::from_secs(100)).await;
        for (wall, now) in [(9_100, Some(at(1_100))), (9_102, Some(at(1_100))), (9_103, None), (9_097, None)] {
            *clock.0.lock().unwrap() = at(wall);
            assert_eq!(server.now(&local), now, "{wall}");
        }
    }
}
