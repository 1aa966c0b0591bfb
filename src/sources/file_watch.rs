//! Reads a token file again and again: one task for each refresher that uses the file.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    task::JoinHandle,
    time::sleep,
};

use super::file_reader::File;
use crate::{AccessToken, login::trigger::RefreshTrigger};

/// The watchers of one login service and its clones.
#[derive(Clone, Default)]
pub(super) struct WatcherSet(Arc<Mutex<Vec<WatcherHandle>>>);

impl WatcherSet {
    /// Returns the notifier of this refresher, and starts its watcher if there is none on the current runtime. `None` if no
    /// refresher sent the request.
    pub(super) fn notifier(
        &self,
        refresher: &RefreshTrigger,
        file: &File,
        interval: Duration,
    ) -> Option<TokenNotifier> {
        let runtime = Handle::try_current().ok().filter(|_| !refresher.is_dead())?;
        // Handles are dropped without the lock, because that calls the refresher.
        let mut removed = Vec::new();
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        removed.extend(watchers.extract_if(.., |watcher| watcher.refresher.is_dead()));
        let current = watchers.iter().position(|watcher| watcher.refresher.ptr_eq(refresher));
        let last_token = match current.map(|current| watchers.swap_remove(current)) {
            Some(watcher) if watcher.runtime == runtime.id() && watcher.notifier.is_alive() => {
                let notifier = watcher.notifier.clone();
                watchers.push(watcher);
                return Some(notifier);
            }
            Some(watcher) => {
                let last_token = watcher.notifier.last_token.clone();
                removed.push(watcher);
                last_token
            }
            None => LastToken::default(),
        };
        drop(watchers);
        drop(removed);
        // Without the lock: a runtime that is shutting down drops the watcher here and now, and that calls the refresher.
        let notifier = TokenNotifier { liveness: Arc::new(AtomicBool::new(true)), last_token };
        let cancelled = Arc::new(AtomicBool::new(false));
        let watcher =
            FileWatcher { refresher: refresher.clone(), notifier: notifier.clone(), cancelled: cancelled.clone() };
        let task = runtime.spawn(watcher.run(file.clone(), interval));
        let handle = WatcherHandle {
            refresher: refresher.clone(),
            runtime: runtime.id(),
            notifier: notifier.clone(),
            cancelled,
            task,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        Some(notifier)
    }
}

/// The token of the file that a refresher has.
type LastToken = Arc<Mutex<Option<AccessToken>>>;

/// What a login tells the watcher, and the watcher's token.
#[derive(Clone)]
pub(super) struct TokenNotifier {
    /// Set while the watcher reports the next token.
    liveness: Arc<AtomicBool>,
    last_token: LastToken,
}

impl TokenNotifier {
    /// Records the token that the refresher gets: the watcher looks for another.
    pub(super) fn attach(self, token: AccessToken) -> AccessToken {
        *self.last_token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token.with_notifier(self.liveness)
    }

    fn is_alive(&self) -> bool {
        self.liveness.load(Ordering::Acquire)
    }
}

/// Ends its watcher when it is dropped.
struct WatcherHandle {
    refresher: RefreshTrigger,
    runtime: runtime::Id,
    notifier: TokenNotifier,
    cancelled: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for WatcherHandle {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Release);
        self.notifier.liveness.store(false, Ordering::Release);
        self.task.abort();
        self.refresher.source_stopped_reporting();
    }
}

/// The task.
struct FileWatcher {
    refresher: RefreshTrigger,
    notifier: TokenNotifier,
    cancelled: Arc<AtomicBool>,
}

impl FileWatcher {
    async fn run(self, file: File, interval: Duration) {
        loop {
            sleep(interval).await;
            if self.refresher.is_dead() {
                return;
            }
            // A file that cannot be read changes nothing: the current token stays in use.
            let Ok(read) = file.read().await else { continue };
            let is_last = |last: &AccessToken| last.header_value() == read.header_value();
            let last_token = &self.notifier.last_token;
            let is_known = last_token.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_last);
            // Requested again and again, because a login may have started before, or may have failed after its reading.
            if !is_known || self.refresher.has_transient_failure() {
                self.refresher.request_refresh();
            }
        }
    }
}

/// If the runtime ends first, the refresher has to log in on another, which starts another watcher.
impl Drop for FileWatcher {
    fn drop(&mut self) {
        self.notifier.liveness.store(false, Ordering::Release);
        if !self.cancelled.load(Ordering::Acquire) {
            self.refresher.request_refresh();
        }
    }
}
