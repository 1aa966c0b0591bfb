//! Who looks whether a file changes: one task for each refresher that uses it.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    task::JoinHandle,
    time::sleep,
};

use super::file::File;
use crate::{AccessToken, WeakAuthRefresher};

/// The watches of one login service and its clones.
#[derive(Clone, Default)]
pub(super) struct Watches(Arc<Mutex<Vec<Watch>>>);

impl Watches {
    /// Looks whether the file changes, for as long as the refresher and the service live. `None`: there is no refresher.
    pub(super) fn watch(&self, refresher: &WeakAuthRefresher, file: &File, interval: Duration) -> Option<Watched> {
        let runtime = Handle::try_current().ok().filter(|_| !refresher.is_gone())?;
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| !watch.refresher.is_gone());
        let there = watches.iter().position(|watch| watch.refresher.is(refresher));
        let used = match there.map(|there| watches.swap_remove(there)) {
            Some(watch) if watch.runtime == runtime.id() && watch.watched.alive.strong_count() > 0 => {
                let watched = watch.watched.clone();
                watches.push(watch);
                return Some(watched);
            }
            Some(watch) => watch.watched.used.clone(),
            None => Used::default(),
        };
        let (proof, given_up) = (Arc::new(()), Arc::new(AtomicBool::new(false)));
        let watched = Watched { alive: Arc::downgrade(&proof), used: used.clone() };
        let watching = Watching { refresher: refresher.clone(), used, given_up: given_up.clone(), _proof: proof };
        let task = runtime.spawn(watching.run(file.clone(), interval));
        let watch =
            Watch { refresher: refresher.clone(), runtime: runtime.id(), watched: watched.clone(), given_up, task };
        watches.push(watch);
        Some(watched)
    }
}

/// What a refresher has of the file.
type Used = Arc<Mutex<Option<AccessToken>>>;

/// For a login: whom to tell what was read.
#[derive(Clone)]
pub(super) struct Watched {
    /// As long as the task is.
    alive: Weak<()>,
    used: Used,
}

impl Watched {
    /// The token is the refresher's now: the task looks for another.
    pub(super) fn take(self, token: AccessToken) -> AccessToken {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token.watched_by(self.alive)
    }
}

/// A task that ends when this is dropped.
struct Watch {
    refresher: WeakAuthRefresher,
    runtime: runtime::Id,
    watched: Watched,
    given_up: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.given_up.store(true, Relaxed);
        self.task.abort();
    }
}

/// The task.
struct Watching {
    refresher: WeakAuthRefresher,
    used: Used,
    given_up: Arc<AtomicBool>,
    /// Tokens are watched as long as this is there.
    _proof: Arc<()>,
}

impl Watching {
    async fn run(self, file: File, interval: Duration) {
        loop {
            sleep(interval).await;
            if self.refresher.is_gone() {
                return;
            }
            // What cannot be read is no news: the token in use serves on.
            let Ok(found) = file.read().await else { continue };
            let is_used = |used: &AccessToken| used.header_value() == found.header_value();
            let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_used);
            // Told again and again: a login may have begun before, or fail when it has read.
            if !used || self.refresher.is_failing() {
                self.refresher.renew();
            }
        }
    }
}

/// If the runtime ends before it, the refresher is to log in where it goes on, which starts another.
impl Drop for Watching {
    fn drop(&mut self) {
        if !self.given_up.load(Relaxed) {
            self.refresher.renew();
        }
    }
}
