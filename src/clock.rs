//! [`Clock`], the wall clock as an argument, and [`Timestamp`], one reading of both clocks.

use std::{
    fmt::Debug,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// Reads the wall clock.
///
/// An [`AuthRefresher`](crate::AuthRefresher) compares this clock with tokio's monotonic clock, because each can stand
/// still or jump while the other does not. Pass another clock to
/// [`AuthRefresherBuilder::clock`](crate::AuthRefresherBuilder::clock) if a test has to control the time.
///
/// A request with a token never reads the wall clock.
///
/// ```
/// use std::time::SystemTime;
/// use tower_auth_refresh::{Clock, SystemClock};
///
/// #[derive(Debug)]
/// struct OneHourAhead;
///
/// impl Clock for OneHourAhead {
///     fn now(&self) -> SystemTime {
///         SystemClock.now() + std::time::Duration::from_secs(3600)
///     }
/// }
/// assert!(OneHourAhead.now() > SystemClock.now());
/// ```
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// Reads the operating system's clock. This is the default.
///
/// ```
/// use tower_auth_refresh::{Clock, SystemClock};
///
/// assert!(SystemClock.now() <= std::time::SystemTime::now());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the only reading of the wall clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}

/// Returns the one shared [`SystemClock`], so that all refreshers with the default clock can share one clock task.
pub(crate) fn system_clock() -> Arc<dyn Clock> {
    static SYSTEM: LazyLock<Arc<dyn Clock>> = LazyLock::new(|| Arc::new(SystemClock));
    SYSTEM.clone()
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp {
    pub(crate) wall: SystemTime,
    pub(crate) monotonic: Instant,
}

impl Timestamp {
    /// Reads both clocks. `clock` is user code, so do not call this under a lock.
    #[expect(clippy::disallowed_methods, reason = "the reading that callers pass on")]
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), monotonic: Instant::now() }
    }

    /// Returns the time this long before; `None` if a clock cannot represent it.
    pub(crate) fn checked_sub(self, duration: Duration) -> Option<Self> {
        let wall = self.wall.checked_sub(duration)?;
        Some(Self { wall, monotonic: self.monotonic.checked_sub(duration)? })
    }

    /// Returns how long before `now` this reading was made, by the clock that has advanced further.
    ///
    /// The monotonic clock stands still while a machine is suspended, and the wall clock can be set back.
    pub(crate) fn elapsed_at(self, now: Timestamp) -> Duration {
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        wall.max(now.monotonic.saturating_duration_since(self.monotonic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_is_by_the_clock_that_shows_more() {
        let start = Timestamp {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(10_000),
            monotonic: Instant::now(),
        };
        for (wall, monotonic, elapsed) in
            [(10, 10, 10), (18_000, 0, 18_000), (0, 7, 7), (-3600, 7, 7), (7, 0, 7)]
        {
            let distance = Duration::from_secs(i64::unsigned_abs(wall));
            let wall_time = if wall < 0 { start.wall - distance } else { start.wall + distance };
            let now = Timestamp {
                wall: wall_time,
                monotonic: start.monotonic + Duration::from_secs(monotonic),
            };
            assert_eq!(start.elapsed_at(now), Duration::from_secs(elapsed), "{wall} {monotonic}");
        }
        let later = Timestamp { monotonic: start.monotonic + Duration::from_secs(5), ..start };
        assert_eq!(later.elapsed_at(start), Duration::ZERO);
    }
}
