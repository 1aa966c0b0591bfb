//! [`Connection`]: opened at the first call, and after a failure.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::RedisResult;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// The time limit for connecting. A call that waits for it ends after its own limit.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Firewalls, load balancers and Redis close idle connections, and some do not notify the client.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

type Connect<C> = dyn Fn() -> Pin<Box<dyn Future<Output = RedisResult<C>> + Send>> + Send + Sync;

/// The outcome of connecting. Contains `None` until the connection is open or has failed.
type Connecting<C> = watch::Receiver<Option<RedisResult<C>>>;

/// Connects in a task. So a connection that opens after the end of its call serves the next call.
///
/// A connection is used until a call fails, or is dropped because of its time limit. In both cases, the server may be
/// frozen, gone, or no longer the primary.
pub(super) struct Connection<C> {
    connect: Arc<Connect<C>>,
    current: Mutex<Option<Current<C>>>,
}

struct Current<C> {
    connecting: Connecting<C>,
    used_at: Instant,
}

impl<C> Current<C> {
    fn is_usable(&self, now: Instant) -> bool {
        match *self.connecting.borrow() {
            Some(Ok(_)) => now.saturating_duration_since(self.used_at) <= IDLE_LIMIT,
            Some(Err(_)) => false,
            None => true,
        }
    }
}

/// A call with a connection. If the call is dropped without [`keep_connection`](Self::keep_connection), later calls do
/// not use the connection.
pub(super) struct Call<'a, C> {
    pub(super) connection: C,
    /// Whether the connection was open before the call.
    pub(super) is_reused: bool,
    connecting: Connecting<C>,
    owner: Option<&'a Connection<C>>,
}

impl<C: Clone + Send + Sync + 'static> Connection<C> {
    pub(super) fn new<F, R>(connect: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = RedisResult<C>> + Send + 'static,
    {
        Self { connect: Arc::new(move || Box::pin(connect())), current: Mutex::new(None) }
    }

    /// Returns the connection. Connects if there is none.
    pub(super) async fn open(&self) -> RedisResult<Call<'_, C>> {
        let (mut connecting, is_reused) = self.connecting();
        let outcome = match connecting.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let aborted = || Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        match outcome.unwrap_or_else(aborted) {
            Ok(connection) => Ok(Call { connection, is_reused, connecting, owner: Some(self) }),
            Err(error) => {
                self.discard(&connecting);
                Err(error)
            }
        }
    }

    /// Returns the current connection, and whether it was open before. Connects if there is none that is usable.
    fn connecting(&self) -> (Connecting<C>, bool) {
        #[expect(clippy::disallowed_methods, reason = "connections are idle in tokio's time")]
        let now = Instant::now();
        // Declared before the guard, and so dropped without the lock.
        let _unusable;
        let mut current = self.lock();
        _unusable = current.take_if(|current| !current.is_usable(now));
        let current =
            current.get_or_insert_with(|| Current { connecting: self.start(), used_at: now });
        current.used_at = now;
        let is_open = current.connecting.borrow().is_some();
        (current.connecting.clone(), is_open)
    }

    fn start(&self) -> Connecting<C> {
        let (outcome, connecting) = watch::channel(None);
        let connect = self.connect.clone();
        tokio::spawn(async move {
            let connected = timeout(CONNECT_LIMIT, async { connect().await }).await;
            let connected =
                connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
            outcome.send_replace(Some(connected));
        });
        connecting
    }
}

impl<C> Connection<C> {
    /// Removes this connection, if no other call has replaced it. The next call connects.
    fn discard(&self, connecting: &Connecting<C>) {
        let discarded = self.lock().take_if(|current| current.connecting.same_channel(connecting));
        drop(discarded);
    }

    /// Nothing panics under this mutex, so a poisoned one is still valid.
    fn lock(&self) -> MutexGuard<'_, Option<Current<C>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Call<'_, C> {
    pub(super) fn keep_connection(mut self) {
        self.owner = None;
    }
}

impl<C> Drop for Call<'_, C> {
    fn drop(&mut self) {
        if let Some(owner) = self.owner {
            owner.discard(&self.connecting);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        OnceLock, Weak,
        atomic::{AtomicU32, Ordering::SeqCst},
    };

    use tokio::time::{sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns a connection that counts how often it connects. `connect` gets that number.
    fn numbered<R>(
        connect: impl Fn(u32) -> R + Clone + Send + Sync + 'static,
    ) -> (Connection<u32>, Arc<AtomicU32>)
    where
        R: Future<Output = RedisResult<u32>> + Send,
    {
        let attempts = Arc::new(AtomicU32::new(0));
        let count = attempts.clone();
        let connection = Connection::new(move || {
            let number = count.fetch_add(1, SeqCst) + 1;
            let connect = connect.clone();
            async move { connect(number).await }
        });
        (connection, attempts)
    }

    fn refused() -> RedisResult<u32> {
        Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_used_until_a_call_does_not_keep_it() {
        let (connection, _) = numbered(async |number| Ok(number));
        for is_reused in [false, true, true] {
            let call = connection.open().await.unwrap();
            assert_eq!((call.connection, call.is_reused), (1, is_reused));
            call.keep_connection();
        }
        drop(connection.open().await.unwrap());
        let call = connection.open().await.unwrap();
        assert_eq!((call.connection, call.is_reused), (2, false));
    }

    #[tokio::test(start_paused = true)]
    async fn late_failure_does_not_discard_the_next_connection() {
        let (connection, _) = numbered(async |number| Ok(number));
        let slow = connection.open().await.unwrap();
        drop(connection.open().await.unwrap());
        connection.open().await.unwrap().keep_connection();
        drop(slow);
        assert_eq!(connection.open().await.unwrap().connection, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_is_replaced() {
        let (connection, _) = numbered(async |number| Ok(number));
        for (pause, number) in [(0, 1), (60, 1), (60, 1), (61, 2)] {
            sleep(SECOND * pause).await;
            let call = connection.open().await.unwrap();
            assert_eq!(call.connection, number);
            call.keep_connection();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_is_dropped_without_the_lock() {
        #[derive(Clone, Default)]
        struct Probe {
            owner: Arc<OnceLock<Weak<Connection<Self>>>>,
            is_locked: Arc<Mutex<Vec<bool>>>,
        }
        impl Drop for Probe {
            fn drop(&mut self) {
                let owner = self.owner.get().and_then(Weak::upgrade);
                let is_locked = owner.is_some_and(|owner| owner.current.try_lock().is_err());
                self.is_locked.lock().unwrap().push(is_locked);
            }
        }
        let probe = Probe::default();
        let opened = probe.clone();
        let connection = Arc::new(Connection::new(move || {
            let opened = opened.clone();
            async move { Ok(opened) }
        }));
        probe.owner.set(Arc::downgrade(&connection)).unwrap();
        for _ in 0..2 {
            connection.open().await.unwrap().keep_connection();
            sleep(2 * IDLE_LIMIT).await;
        }
        let is_locked = probe.is_locked.lock().unwrap().clone();
        assert!(!is_locked.is_empty() && !is_locked.contains(&true), "{is_locked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_connection_serves_the_next_call() {
        let (connection, attempts) = numbered(async |number| {
            sleep(SECOND).await;
            Ok(number)
        });
        for _ in 0..3 {
            assert!(timeout(SECOND / 4, connection.open()).await.is_err());
        }
        let call = timeout(SECOND / 2, connection.open()).await.unwrap().unwrap();
        assert_eq!((call.connection, attempts.load(SeqCst)), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_is_limited() {
        let (connection, attempts) = numbered(async |number| match number {
            1 => std::future::pending().await,
            number => Ok(number),
        });
        assert!(connection.open().await.is_err());
        assert_eq!(connection.open().await.unwrap().connection, 2);
        assert_eq!(attempts.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_connection_fails_no_later_call() {
        let (connection, _) = numbered(async |number| {
            sleep(SECOND).await;
            if number == 1 { refused() } else { Ok(number) }
        });
        assert!(timeout(SECOND / 2, connection.open()).await.is_err());
        sleep(SECOND).await;
        assert_eq!(connection.open().await.unwrap().connection, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn panic_while_connecting_is_an_error() {
        let (connection, _) = numbered(async |number| match number {
            1 => panic!("connect"),
            number => Ok(number),
        });
        assert!(connection.open().await.is_err());
        assert_eq!(connection.open().await.unwrap().connection, 2);
    }
}
