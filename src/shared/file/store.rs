//! [`FileTokenStore`]: the operations on the directory as a [`TokenStore`].

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    claim::GrantedClaim,
    directory::{Directory, LockedFile},
    error::FileTokenStoreError,
    format::{MAX_RECORD_LEN, StoredRecord},
};
use crate::{
    BoxError, Clock,
    clock::system_clock,
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
    },
};

const TIMEOUT: Duration = Duration::from_secs(5);
/// The intervals between two tries to lock. A process has the lock for about the time of one `fsync`.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(1);
const MAX_RETRY_INTERVAL: Duration = Duration::from_millis(16);

/// Stores records in a directory, for the processes of one user on one machine.
///
/// Any number of stores and processes can use one directory. A store and its clones run one file operation at a time.
///
/// ```no_run
/// use tower_auth_refresh::shared::FileTokenStore;
///
/// # fn store() -> Option<FileTokenStore> {
/// let store = FileTokenStore::new(std::env::home_dir()?.join(".local/state/orders/tokens"));
/// # Some(store)
/// # }
/// ```
///
/// # Files
///
/// Each [key](RecordKey) has a record file (`<key>.token`) and a lock file (`<key>.lock`), which also contains the
/// claim. Lock files are never deleted.
///
/// A put writes the record to a temporary file (`<key>.<random>.new`), syncs it, and renames it. So neither a crash nor
/// a power failure leaves a partial record. The next put removes temporary files of processes that have died. A damaged
/// record file counts as missing, so one process logs in and replaces it.
///
/// The locks are those of `flock` on Unix and `LockFileEx` on Windows. The directory should be on a local file system,
/// because not every network file system supports them.
///
/// # Permissions
///
/// On Unix, the store creates the directory with mode 0700, and files with mode 0600. It fails in these cases:
///
/// - Other users have any access to the directory or a file ([`FileTokenStoreError::NotPrivate`]).
/// - A file that the store reads or creates, and the directory, have different owners
///   ([`FileTokenStoreError::WrongOwner`]). So root writes no token into the directory of another user.
/// - A file is a symbolic link ([`FileTokenStoreError::WrongFileType`]).
///
/// On other systems, the application must choose a private directory.
///
/// In a read-only directory, [`load`](TokenStore::load) works, and [`claim`](TokenStore::claim) returns records that
/// have changed. Every other call fails ([`FileTokenStoreError::is_read_only`]).
///
/// # Threads and time limits
///
/// The store needs a tokio runtime with a timer. File operations run on its threads for blocking work, one at a time.
/// While another process has a lock, the store retries every 1 to 16 milliseconds, and occupies no thread. If a process
/// freezes while it has a lock, or the file system does not respond, at most one thread is occupied, and calls fail
/// after the [time limit](Self::timeout).
///
/// # Clock
///
/// The wall clock measures ages and claims, because processes share no other clock that continues after a restart of
/// the machine. If a person sets that clock:
///
/// - Forward: claims end earlier, and records look older. At worst, a second process logs in at the same time, and the
///   first one's [`put`](TokenStore::put) returns false.
/// - Back: records look younger. A claim that was granted in the future starts when the next process claims. So it ends
///   later by its time to live at most.
///
/// # Errors
///
/// The error of each call is a [`FileTokenStoreError`], boxed: `error.downcast_ref::<FileTokenStoreError>()` returns
/// it.
///
/// # Cancellation
///
/// Dropping a future does not cancel a file operation that has started. A [`put`](TokenStore::put) whose future is
/// dropped while it writes its temporary file does not take place.
#[derive(Clone)]
pub struct FileTokenStore {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    /// The permit to occupy a thread. The thread owns it, because the future can be dropped first.
    blocking_permit: Arc<Semaphore>,
}

impl FileTokenStore {
    /// Creates a store in this directory.
    ///
    /// The first claim creates the directory if it is missing. This method does not access it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: Arc::new(Directory(directory.into())),
            clock: system_clock(),
            timeout: TIMEOUT,
            blocking_permit: Arc::new(Semaphore::new(1)),
        }
    }

    /// Sets the time limit of each call. Defaults to 5 seconds.
    ///
    /// It applies if the store is used without a [`SharedTokenLayer`](crate::shared::SharedTokenLayer), whose limit is
    /// shorter.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets the wall clock. Defaults to [`SystemClock`](crate::SystemClock). All processes must use the same clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Runs an operation that blocks, with the time limit. Retries it while it returns `None`.
    async fn run<T, F>(&self, operation: F) -> Result<T, BoxError>
    where
        F: Fn(&Directory, &WallClock) -> Result<Option<T>, FileTokenStoreError>
            + Send
            + Sync
            + 'static,
        T: Send + 'static,
    {
        self.with_timeout(self.retry_while_locked(operation)).await
    }

    async fn with_timeout<T>(
        &self,
        operation: impl Future<Output = Result<T, FileTokenStoreError>>,
    ) -> Result<T, BoxError> {
        let timed_out = |_| Err(FileTokenStoreError::TimedOut { limit: self.timeout });
        Ok(timeout(self.timeout, operation).await.unwrap_or_else(timed_out)?)
    }

    async fn retry_while_locked<T, F>(&self, operation: F) -> Result<T, FileTokenStoreError>
    where
        F: Fn(&Directory, &WallClock) -> Result<Option<T>, FileTokenStoreError>
            + Send
            + Sync
            + 'static,
        T: Send + 'static,
    {
        let operation = Arc::new(operation);
        let mut interval = MIN_RETRY_INTERVAL;
        loop {
            let permit = self.blocking_permit.clone().acquire_owned().await;
            let permit = permit.map_err(|_| FileTokenStoreError::Interrupted)?;
            let (operation, directory) = (operation.clone(), self.directory.clone());
            let clock = WallClock(self.clock.clone());
            let attempt = spawn_blocking(move || {
                let _permit = permit;
                operation(&directory, &clock)
            });
            if let Some(done) = attempt.await.map_err(|_| FileTokenStoreError::Interrupted)?? {
                return Ok(done);
            }
            sleep(interval).await;
            interval = (2 * interval).min(MAX_RETRY_INTERVAL);
        }
    }
}

/// Reads the clock while the file is locked. A process may be frozen before that, and a time from before must not end a
/// newer claim. The clock is user code: if it blocks, other operations wait for the lock until their time limit.
struct WallClock(Arc<dyn Clock>);

impl WallClock {
    /// Returns the time since 1970.
    fn now(&self) -> Duration {
        self.0.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

fn load(
    directory: &Directory,
    key: &RecordKey,
    now: Duration,
) -> Result<Option<Record>, FileTokenStoreError> {
    let record = directory.read(key)?.filter(|record| !record.is_expired(now));
    Ok(record.map(|record| record.into_record(now)))
}

fn revision(record: Option<&Record>) -> Option<Revision> {
    record.map(|record| record.revision)
}

fn claim(
    directory: &Directory,
    clock: &WallClock,
    key: &RecordKey,
    expected: Option<Revision>,
    claim: GrantedClaim,
) -> Result<Option<ClaimOutcome>, FileTokenStoreError> {
    // Before the lock, which cannot be created in a read-only directory.
    let record = load(directory, key, clock.now())?;
    if revision(record.as_ref()) != expected {
        return Ok(Some(ClaimOutcome::Changed(record)));
    }
    let Some(mut lock) = directory.try_lock(key)? else { return Ok(None) };
    let now = clock.now();
    let record = load(directory, key, now)?;
    if revision(record.as_ref()) != expected {
        return Ok(Some(ClaimOutcome::Changed(record)));
    }
    if record.is_none() {
        // An expired or damaged file, if there is one.
        directory.remove(key, &lock)?;
    }
    let other = lock.claim()?.filter(|other| other.id != claim.id);
    if let Some((other, expires_in)) = other.and_then(|other| Some((other, other.remaining(now)?)))
    {
        if other.granted_at > now {
            // The clock has been set back. Without this, the claim would not end before the clock has caught up.
            lock.set_claim(Some(GrantedClaim { granted_at: now, ..other }))?;
        }
        return Ok(Some(ClaimOutcome::Denied { expires_in }));
    }
    lock.set_claim(Some(GrantedClaim { granted_at: now, ..claim }))?;
    Ok(Some(ClaimOutcome::Granted))
}

/// Returns the claim, if the claim of this id is granted.
fn own_claim(
    lock: &mut LockedFile,
    id: ClaimId,
    now: Duration,
) -> Result<Option<GrantedClaim>, FileTokenStoreError> {
    Ok(lock.claim()?.filter(|claim| claim.id == id && claim.remaining(now).is_some()))
}

impl TokenStore for FileTokenStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        let key = *key;
        Box::pin(self.run(move |directory, clock| load(directory, &key, clock.now()).map(Some)))
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        id: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        let key = *key;
        let new = GrantedClaim { id, granted_at: Duration::ZERO, time_to_live };
        Box::pin(self.run(move |directory, clock| claim(directory, clock, &key, expected, new)))
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        id: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        let key = *key;
        Box::pin(self.run(move |directory, clock| {
            let Some(mut lock) = directory.try_lock(&key)? else { return Ok(None) };
            let now = clock.now();
            if own_claim(&mut lock, id, now)?.is_none() {
                return Ok(Some(false));
            }
            lock.set_claim(Some(GrantedClaim { id, granted_at: now, time_to_live }))?;
            Ok(Some(true))
        }))
    }

    fn release<'a>(&'a self, key: &'a RecordKey, id: ClaimId) -> StoreFuture<'a, ()> {
        let key = *key;
        Box::pin(self.run(move |directory, _| {
            let Some(mut lock) = directory.try_lock(&key)? else { return Ok(None) };
            if lock.claim()?.is_some_and(|claim| claim.id == id) {
                lock.set_claim(None)?;
            }
            Ok(Some(()))
        }))
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        id: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        let key = *key;
        let write = move |directory: &Directory, clock: &WallClock| {
            let len = record.bytes.len();
            if len > MAX_RECORD_LEN {
                return Err(FileTokenStoreError::TooLarge { len });
            }
            // The age includes the wait for the lock, so it is never too low.
            directory.write(&key, &StoredRecord::new(record.clone(), clock.now())).map(Some)
        };
        Box::pin(self.with_timeout(async move {
            let record = self.retry_while_locked(write).await?;
            self.retry_while_locked(move |directory, clock| {
                let Some(mut lock) = directory.try_lock(&key)? else { return Ok(None) };
                let now = clock.now();
                if own_claim(&mut lock, id, now)?.is_none()
                    || revision(load(directory, &key, now)?.as_ref()) != expected
                {
                    return Ok(Some(false));
                }
                directory.replace(&key, &record, lock)?;
                Ok(Some(true))
            })
            .await
        }))
    }
}

impl fmt::Debug for FileTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTokenStore")
            .field("directory", &self.directory.0)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
