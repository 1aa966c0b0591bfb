//! [`TokenFile`].

use std::{
    fmt, fs,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    task::JoinHandle,
    time::sleep,
};
use tower_service::Service;

use super::text;
use crate::{AccessToken, LoginError, LoginRequest, WeakAuthRefresher};

/// The token in a file that somebody else keeps fresh: a service account's token that Kubernetes projects, or what a sidecar
/// writes.
///
/// It is read at each login, without the white space around it. From then on, and for as long as the refresher lives, the file
/// is looked at every 10 seconds, and read when it has changed, be it by a link that points elsewhere; there are no other
/// refreshes, also while there are no requests. A token that is a JWT is used to its end at most. Reading is done on threads
/// for blocking work, one at a time.
///
/// The writer should replace the file as a whole (write another, rename it): half a token looks like one. While there is
/// none, reading is a login that fails, with the refresher's pauses between; where the file may come late,
/// [shorter ones](crate::AuthRefresherBuilder::backoff) cost nobody anything. A [seed](crate::AuthRefresherBuilder::seed) is used to
/// its refresh before the file is looked at.
///
/// ```
/// use tower_auth_refresh::{AuthRefresher, sources::TokenFile};
///
/// let login = TokenFile::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
/// let refresher = AuthRefresher::new(login);
/// # let _: AuthRefresher = refresher;
/// ```
///
/// # Errors
///
/// A transient [`LoginError`] that names the file and never what is in it: it is no file, cannot be read, or the last reading
/// has not ended; it is empty or larger than 64 KiB, or holds something that no header can. Meanwhile the token in use serves on.
///
/// Clones are one login: the file is looked at once for all.
#[derive(Clone)]
pub struct TokenFile {
    file: File,
    interval: Duration,
    watch: Arc<Mutex<Option<Watch>>>,
}

/// The file, and what was read of it.
#[derive(Clone)]
struct File {
    path: Arc<Path>,
    /// What was read last for a login.
    used: Arc<Mutex<Option<AccessToken>>>,
    /// Held while it is read: a file system that hangs is to have one thread and no more.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl TokenFile {
    /// The file at this path. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let file = File { path: path.into().into(), used: Arc::default(), reading: Arc::default() };
        Self { file, interval: Duration::from_secs(10), watch: Arc::default() }
    }

    /// How often the file is looked at; 10 seconds unless said, and no more often than every 10 ms.
    #[must_use]
    pub fn check_every(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// Looks whether the file changes, for as long as the refresher and this service live. Says whether somebody does.
    fn watch(&self, refresher: &WeakAuthRefresher) -> bool {
        let (false, Ok(runtime)) = (refresher.is_gone(), Handle::try_current()) else { return false };
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if !watch.as_ref().is_some_and(|watch| watch.runtime == runtime.id() && !watch.task.is_finished()) {
            let watching = Watching { refresher: refresher.clone(), done: false };
            let task = runtime.spawn(watching.run(self.file.clone(), self.interval));
            *watch = Some(Watch { runtime: runtime.id(), task });
        }
        true
    }
}

/// A task that ends when this is dropped.
struct Watch {
    runtime: runtime::Id,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task. If its runtime ends before it, the refresher is to log in where it goes on, which starts another.
struct Watching {
    refresher: WeakAuthRefresher,
    done: bool,
}

impl Watching {
    async fn run(mut self, file: File, interval: Duration) {
        loop {
            sleep(interval).await;
            if self.refresher.is_gone() {
                self.done = true;
                return;
            }
            // What cannot be read is no news: the token in use serves on.
            let Ok(found) = file.read().await else { continue };
            let is_used = |used: &AccessToken| used.header_value() == found.header_value();
            // Told again and again, since a login may fail, or have begun before.
            if !file.used().as_ref().is_some_and(is_used) {
                self.refresher.renew();
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if !self.done {
            self.refresher.renew();
        }
    }
}

impl File {
    fn used(&self) -> MutexGuard<'_, Option<AccessToken>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> Result<AccessToken, String> {
        let failed = |why: &dyn fmt::Display| format!("the token file {}: {why}", self.path.display());
        let runtime = Handle::try_current().map_err(|_| failed(&"there is no tokio runtime to read it on"))?;
        let alone = self.reading.clone().try_lock_owned();
        let alone = alone.map_err(|_| failed(&"the last reading has not ended"))?;
        let path = self.path.clone();
        let read = runtime.spawn_blocking(move || {
            let _alone = alone;
            text_of(&path)
        });
        let text = match read.await {
            Ok(text) => text.map_err(|error| failed(&error))?,
            Err(_) => return Err(failed(&"the runtime has ended")),
        };
        text::token(&text).map_err(|error| failed(&error))
    }
}

/// What is in it, as far as is needed to see that it is too large.
fn text_of(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(2 * text::LIMIT as u64).read_to_end(&mut text)?;
    Ok(text)
}

impl Service<LoginRequest> for TokenFile {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        let (watched, file) = (self.watch(request.refresher()), self.file.clone());
        Box::pin(async move {
            let token = file.read().await.map_err(LoginError::transient)?;
            *file.used() = Some(token.clone());
            Ok(if watched { token.watched() } else { token })
        })
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile")
            .field("path", &self.file.path)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
