//! The wall clock, as an argument.

use std::{fmt::Debug, sync::Arc, time::SystemTime};

/// Tells the time of day.
///
/// The [worker](crate::AuthRefresher) compares this clock with tokio's monotonic one, since either can stand still or
/// jump on its own. Give a clock of your own to
/// [`AuthRefresherBuilder::clock`](crate::AuthRefresherBuilder::clock) where tests must steer it.
///
/// Requests never read a clock.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day now.
    fn now(&self) -> SystemTime;
}

/// The operating system's clock, the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}
