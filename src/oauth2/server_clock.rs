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
pub(super) struct ServerClock {
    last: Option<(SystemTime, Timestamp)>,
    /// The server has rejected an assertion that was signed by this clock. A proxy with a wrong clock can set the `Date`.
    distrusted: bool,
}

impl ServerClock {
    pub(super) fn record(&mut self, server_time: SystemTime, local: &Arc<dyn Clock>) {
        self.last = Some((server_time, Timestamp::now(local)));
    }

    /// Returns the server's time to sign by. `None` if the local clock is to be used.
    pub(super) fn now(&self, local: &Arc<dyn Clock>) -> Option<SystemTime> {
        if self.distrusted { None } else { self.shown(local) }
    }

    /// Returns the server's time, or `None` if it is unknown or a local clock has jumped since the last response.
    fn shown(&self, local: &Arc<dyn Clock>) -> Option<SystemTime> {
        let (server_time, read_at) = self.last?;
        let now = Timestamp::now(local);
        let elapsed = now.monotonic.saturating_duration_since(read_at.monotonic);
        let drift = difference(read_at.wall.checked_add(elapsed)?, now.wall);
        if drift <= MAX_DRIFT { server_time.checked_add(elapsed) } else { None }
    }

    /// The server has rejected an assertion. The clock that it was signed by shows `time` now: this one, or the local one.
    /// If the other clock deviates, uses that from now on and returns `true`.
    pub(super) fn replace_rejected(
        &mut self,
        time: SystemTime,
        is_local: bool,
        local: &Arc<dyn Clock>,
    ) -> bool {
        let other = if is_local { self.shown(local) } else { Some(local.now()) };
        let deviates = other.is_some_and(|other| difference(other, time) > MAX_SKEW);
        if deviates {
            self.distrusted = !is_local;
        }
        deviates
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

        advance(Duration::from_secs(100)).await;
        for (wall, now) in
            [(9_100, Some(at(1_100))), (9_102, Some(at(1_100))), (9_103, None), (9_097, None)]
        {
            *clock.0.lock().unwrap() = at(wall);
            assert_eq!(server.now(&local), now, "{wall}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_clock_is_replaced_if_the_other_deviates() {
        let local: Arc<dyn Clock> = Arc::new(SetClock(Mutex::new(at(9_000))));
        let mut server = ServerClock::default();
        assert!(!server.replace_rejected(at(9_000), true, &local), "the server's clock is unknown");
        server.record(at(1_000), &local);
        for (time, deviates) in [(994, true), (995, false), (1_005, false), (1_006, true)] {
            assert_eq!(server.replace_rejected(at(time), true, &local), deviates, "{time}");
        }
        assert_eq!(server.now(&local), Some(at(1_000)));
        assert!(!server.replace_rejected(at(9_005), false, &local));
        assert!(server.replace_rejected(at(1_000), false, &local));
        assert_eq!(server.now(&local), None, "the local clock is used");
        assert!(server.replace_rejected(at(9_000), true, &local));
        assert_eq!(server.now(&local), Some(at(1_000)));
    }
}
