//! Follows a token file: one task for each runtime reads the file, and notifies the refreshers that use its token.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    time::sleep,
};

use super::file_reader::File;
use crate::{AccessToken, login::trigger::RefreshTrigger};

/// The watchers of one file. Clones share them; they end with the last clone.
#[derive(Clone)]
pub(super) struct WatcherSet(Arc<Watch>);

struct Watch {
    file: File,
    interval: Duration,
    state: Mutex<WatchState>,
}

/// Nothing in it runs user code when it is dropped, so it may be changed under the lock.
#[derive(Default)]
struct WatchState {
    /// By the refresher's address, which stays in use while its trigger exists.
    refreshers: HashMap<usize, WatchedRefresher>,
    watchers: HashMap<runtime::Id, WatcherHandle>,
}

struct WatchedRefresher {
    refresher: RefreshTrigger,
    /// The token that the refresher got from the file.
    last_token: Option<AccessToken>,
    /// The runtime of its last login, whose watcher notifies it.
    runtime: runtime::Id,
}

/// Cancels the watcher's task when it is dropped.
struct WatcherHandle {
    liveness: Liveness,
    _cancel: oneshot::Sender<()>,
}

/// Set while the watcher reports the next token.
type Liveness = Arc<AtomicBool>;

impl WatcherSet {
    pub(super) fn new(file: File, interval: Duration) -> Self {
        Self(Arc::new(Watch { file, interval, state: Mutex::default() }))
    }

    pub(super) fn interval(&self) -> Duration {
        self.0.interval
    }

    /// Returns the notifier of this refresher, and starts a watcher if there is none on the current runtime. `None` if
    /// no refresher sent the request.
    pub(super) fn notifier(&self, refresher: &RefreshTrigger) -> Option<TokenNotifier> {
        let runtime = Handle::try_current().ok()?;
        let key = refresher.addr().filter(|_| !refresher.is_dead())?;
        let id = runtime.id();
        let notifier = |liveness| TokenNotifier { watch: Arc::downgrade(&self.0), key, liveness };

        let mut state = self.0.lock();
        let watched = state.refreshers.entry(key).or_insert_with(|| WatchedRefresher {
            refresher: refresher.clone(),
            last_token: None,
            runtime: id,
        });
        watched.runtime = id;
        if let Some(watcher) =
            state.watchers.get(&id).filter(|watcher| watcher.liveness.load(Ordering::Acquire))
        {
            return Some(notifier(watcher.liveness.clone()));
        }
        let liveness = Liveness::new(AtomicBool::new(true));
        let (cancel, cancelled) = oneshot::channel();
        state.watchers.insert(id, WatcherHandle { liveness: liveness.clone(), _cancel: cancel });
        drop(state);
        // Without the lock: a runtime that is shutting down drops the watcher immediately, and that takes the lock.
        let watcher =
            FileWatcher { watch: Arc::downgrade(&self.0), runtime: id, liveness: liveness.clone() };
        runtime.spawn(watcher.run(self.0.interval, cancelled));
        Some(notifier(liveness))
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for watcher in state.watchers.values() {
            watcher.liveness.store(false, Ordering::Release);
        }
        for watched in state.refreshers.values() {
            watched.refresher.source_stopped_reporting();
        }
    }
}

/// Connects a login with the watcher.
pub(super) struct TokenNotifier {
    watch: Weak<Watch>,
    key: usize,
    liveness: Liveness,
}

impl TokenNotifier {
    /// Records the token that the refresher gets. The watcher reports another one.
    pub(super) fn attach(self, token: AccessToken) -> AccessToken {
        if let Some(watch) = self.watch.upgrade()
            && let Some(watched) = watch.lock().refreshers.get_mut(&self.key)
        {
            watched.last_token = Some(token.clone());
        }
        token.with_notifier(self.liveness)
    }
}

/// The task.
struct FileWatcher {
    watch: Weak<Watch>,
    runtime: runtime::Id,
    liveness: Liveness,
}

impl FileWatcher {
    async fn run(self, interval: Duration, mut cancelled: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                () = sleep(interval) => {}
                _ = &mut cancelled => return,
            }
            let Some(file) = self.file_in_use() else { return };
            // A file that cannot be read changes nothing: the current token stays in use.
            let Ok(token) = file.read().await else { continue };
            for refresher in self.refreshers_without(&token) {
                refresher.request_refresh();
            }
        }
    }

    /// Forgets dropped refreshers. Returns the file, or `None` if no refresher on this runtime is left.
    fn file_in_use(&self) -> Option<File> {
        let watch = self.watch.upgrade()?;
        let mut state = watch.lock();
        state.refreshers.retain(|_, watched| !watched.refresher.is_dead());
        if state.refreshers.values().any(|watched| watched.runtime == self.runtime) {
            drop(state);
            return Some(watch.file.clone());
        }
        // Under the same lock, so that the next login starts a new watcher.
        if self.is_registered(&state) {
            state.watchers.remove(&self.runtime);
        }
        self.liveness.store(false, Ordering::Release);
        None
    }

    /// Returns the refreshers on this runtime that have another token, or none.
    fn refreshers_without(&self, token: &AccessToken) -> Vec<RefreshTrigger> {
        let Some(watch) = self.watch.upgrade() else { return Vec::new() };
        let is_same = |last: &AccessToken| last.header_value() == token.header_value();
        let refreshers: Vec<_> = {
            let state = watch.lock();
            let own = state.refreshers.values().filter(|watched| watched.runtime == self.runtime);
            own.map(|watched| {
                (watched.refresher.clone(), watched.last_token.as_ref().is_some_and(is_same))
            })
            .collect()
        };
        // Reported at every reading until the login succeeds: it can fail after it has read the file, or it read the
        // file before the change. Without the lock, because the refresher runs user code.
        let outdated = |(refresher, is_same): &(RefreshTrigger, bool)| {
            !is_same || refresher.has_transient_failure()
        };
        refreshers.into_iter().filter(outdated).map(|(refresher, _)| refresher).collect()
    }

    fn is_registered(&self, state: &WatchState) -> bool {
        state
            .watchers
            .get(&self.runtime)
            .is_some_and(|watcher| Arc::ptr_eq(&watcher.liveness, &self.liveness))
    }
}

/// If the runtime ends first, the refreshers have to log in on another, which starts another watcher.
impl Drop for FileWatcher {
    fn drop(&mut self) {
        self.liveness.store(false, Ordering::Release);
        let Some(watch) = self.watch.upgrade() else { return };
        let refreshers: Vec<_> = {
            let mut state = watch.lock();
            if !self.is_registered(&state) {
                return;
            }
            state.watchers.remove(&self.runtime);
            state.refreshers.retain(|_, watched| !watched.refresher.is_dead());
            let own = state.refreshers.values().filter(|watched| watched.runtime == self.runtime);
            own.map(|watched| watched.refresher.clone()).collect()
        };
        for refresher in refreshers {
            refresher.request_refresh();
        }
    }
}
