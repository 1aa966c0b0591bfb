//! Several handles in one process, and operations that hang.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, SystemTime},
};

use tower_auth_refresh::{
    Clock, SystemClock,
    shared::{ClaimOutcome, FileTokenStore, FileTokenStoreError, NewRecord, TokenStore},
};

use crate::support::{HOUR, KEY, TempDir, file_error, id, put, revision};

/// Blocks each reading until the test continues it. A store reads the clock of an `extend` while it has the lock.
#[derive(Debug)]
struct BlockingClock {
    readings: Arc<AtomicUsize>,
    started: Sender<()>,
    proceed: Mutex<Receiver<()>>,
}

impl Clock for BlockingClock {
    fn now(&self) -> SystemTime {
        self.readings.fetch_add(1, SeqCst);
        self.started.send(()).unwrap();
        self.proceed.lock().unwrap().recv().unwrap();
        SystemClock.now()
    }
}

/// A store that has the lock of [`KEY`] until a message is sent.
struct Locked {
    store: FileTokenStore,
    readings: Arc<AtomicUsize>,
    proceed: Sender<()>,
    extended: tokio::task::JoinHandle<bool>,
}

impl Locked {
    async fn new(directory: &TempDir) -> Self {
        let (started, has_started) = channel();
        let (proceed, proceeding) = channel();
        let readings = Arc::<AtomicUsize>::default();
        let clock =
            BlockingClock { readings: readings.clone(), started, proceed: Mutex::new(proceeding) };
        let store = directory.store().clock(clock);
        let extending = store.clone();
        let extended =
            tokio::spawn(async move { extending.extend(&KEY.get(), id(9), HOUR).await.unwrap() });
        tokio::task::spawn_blocking(move || has_started.recv().unwrap()).await.unwrap();
        Self { store, readings, proceed, extended }
    }
}

#[tokio::test]
async fn handles_of_one_process_exclude_each_other() {
    let directory = TempDir::new();
    let other = directory.store();
    put(&other, None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    let locked = Locked::new(&directory).await;
    let impatient = other.clone().timeout(Duration::from_millis(50));
    let claim = impatient.claim(&KEY.get(), Some(revision(1)), id(1), HOUR).await;
    let limit = Duration::from_millis(50);
    assert!(
        matches!(file_error(claim.unwrap_err()), FileTokenStoreError::TimedOut { limit: l } if l == limit)
    );
    // Neither needs the lock.
    assert!(other.load(&KEY.get()).await.unwrap().is_some());
    let claim = other.claim(&KEY.get(), None, id(1), HOUR).await.unwrap();
    assert!(matches!(claim, ClaimOutcome::Changed(Some(_))));
    // An operation that waits continues when the lock is released.
    let waiting = tokio::spawn(async move {
        other.timeout(HOUR).claim(&KEY.get(), Some(revision(1)), id(1), HOUR).await.unwrap()
    });
    locked.proceed.send(()).unwrap();
    assert_eq!(waiting.await.unwrap(), ClaimOutcome::Granted);
    assert!(!locked.extended.await.unwrap());
}

#[tokio::test]
async fn operation_that_hangs_occupies_one_thread() {
    let directory = TempDir::new();
    let locked = Locked::new(&directory).await;
    let impatient = locked.store.clone().timeout(Duration::from_millis(20));
    for _ in 0..10 {
        let error = impatient.load(&KEY.get()).await.unwrap_err();
        assert!(matches!(file_error(error), FileTokenStoreError::TimedOut { .. }));
    }
    assert_eq!(locked.readings.load(SeqCst), 1);
    locked.proceed.send(()).unwrap();
    assert!(!locked.extended.await.unwrap());
}

#[tokio::test]
async fn dropped_operation_takes_place_and_blocks_no_other() {
    let directory = TempDir::new();
    let (store, key) = (directory.store(), KEY.get());
    for _ in 0..20 {
        let claim = store.claim(&key, None, id(1), HOUR);
        tokio::select! { biased; _ = claim => {}, () = tokio::task::yield_now() => {} }
    }
    // The operations of one handle run in their order.
    let denied = store.claim(&key, None, id(2), HOUR).await.unwrap();
    assert!(matches!(denied, ClaimOutcome::Denied { .. }), "{denied:?}");
}

#[tokio::test]
async fn clock_that_panics_fails_one_operation() {
    #[derive(Debug)]
    struct Panicking;
    impl Clock for Panicking {
        fn now(&self) -> SystemTime {
            panic!("clock")
        }
    }
    let directory = TempDir::new();
    let panicking = directory.store().clock(Panicking);
    for _ in 0..2 {
        let error = panicking.extend(&KEY.get(), id(1), HOUR).await.unwrap_err();
        assert!(matches!(file_error(error), FileTokenStoreError::Interrupted));
    }
    let claim = directory.store().claim(&KEY.get(), None, id(1), HOUR).await.unwrap();
    assert_eq!(claim, ClaimOutcome::Granted);
}
