//! [`TokenFile`].

use std::{
    fmt, fs,
    future::Future,
    io::Read,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tower_service::Service;

use super::text;
use crate::{AccessToken, Clock, LoginError, LoginRequest, SystemClock, WeakAuthRefresher};

/// The token in a file that somebody else keeps fresh: a service account's token that Kubernetes projects, or what a sidecar
/// writes.
///
/// It is read at each login, without the white space around it. If it is a JWT, its end is known and it is read again
/// before; and while a refresher uses it, the file is looked at every 10 seconds, and read when it has changed, be it by
/// a link that points elsewhere. All of that is done on threads for blocking work.
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
/// A transient [`LoginError`] that names the file and never what is in it: it cannot be read, is empty or larger than 64 KiB,
/// or holds something that no header can. Meanwhile the token in use serves on.
///
/// Clones are one login: the file is looked at once for all.
#[derive(Clone)]
pub struct TokenFile {
    path: Arc<Path>,
    interval: Duration,
    clock: Arc<dyn Clock>,
    /// What was read last.
    seen: Arc<Mutex<Option<AccessToken>>>,
    watch: Arc<Mutex<Option<Watch>>>,
}

impl TokenFile {
    /// The file at this path. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
            interval: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
            seen: Arc::default(),
            watch: Arc::default(),
        }
    }

    /// How often the file is looked at; 10 seconds unless said, and no more often than every 10 ms.
    #[must_use]
    pub fn check_every(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// The wall clock by which a JWT's end is known.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Looks whether the file changes, for as long as the refresher and this service live.
    fn watch(&self, refresher: &WeakAuthRefresher) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watch.as_ref().is_some_and(|watch| !watch.0.is_finished());
        let (false, Ok(runtime)) = (watched || refresher.is_gone(), Handle::try_current()) else { return };
        let (path, interval, clock) = (self.path.clone(), self.interval, self.clock.clone());
        let (seen, refresher) = (self.seen.clone(), refresher.clone());
        *watch = Some(Watch(runtime.spawn(async move {
            let mut told = None;
            loop {
                sleep(interval).await;
                if refresher.is_gone() {
                    return;
                }
                // What cannot be read is no news: the token in use serves on.
                let Ok(found) = read(path.clone(), clock.clone()).await else { continue };
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let is_found = |token: &AccessToken| token.header_value() == found.header_value();
                if !seen.as_ref().is_some_and(is_found) && !told.as_ref().is_some_and(is_found) {
                    refresher.renew();
                    told = Some(found);
                }
            }
        })));
    }
}

/// A task that ends when this is dropped.
struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(path: Arc<Path>, clock: Arc<dyn Clock>) -> Result<AccessToken, String> {
    let read = spawn_blocking(move || {
        let failed = |why: &dyn fmt::Display| format!("the token file {}: {why}", path.display());
        let file = fs::File::open(&path).map_err(|error| failed(&error))?;
        let mut text = Vec::new();
        // Enough to see that it is too large.
        file.take(2 * text::LIMIT as u64).read_to_end(&mut text).map_err(|error| failed(&error))?;
        text::token(&text, clock.now()).map_err(|error| failed(&error))
    });
    read.await.map_err(|_| "the runtime has ended".to_owned())?
}

impl Service<LoginRequest> for TokenFile {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        self.watch(request.refresher());
        let (seen, reading) = (self.seen.clone(), read(self.path.clone(), self.clock.clone()));
        Box::pin(async move {
            let token = reading.await.map_err(LoginError::transient)?;
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
            Ok(token)
        })
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).field("interval", &self.interval).finish_non_exhaustive()
    }
}
