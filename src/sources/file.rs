//! [`TokenFile`].

use std::{
    fmt, fs,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Mutex, time::timeout};
use tower_service::Service;

use super::{text, watch::Watches};
use crate::{AccessToken, LoginError, LoginRequest};

/// How long to wait while the file is being read already.
const TURN: Duration = Duration::from_secs(1);

/// The token in a file that somebody else keeps fresh: a service account's token that Kubernetes projects, or what a sidecar
/// writes.
///
/// It is read at each login, without the white space around it. From then on, and for as long as the refresher and this
/// service live, it is read every 10 seconds too, also while there are no requests, and its token is used when it is another;
/// there are no refreshes besides. A token that is a JWT is used to its end at most. Reading is done on threads for blocking work,
/// one at a time. So keep the service in the refresher, rather than making one for each login.
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
/// has not ended; it is empty or larger than 64 KiB, or holds something that no header can. Meanwhile the token in use serves
/// on.
///
/// Clones share the looking: there is one task for each refresher.
#[derive(Clone)]
pub struct TokenFile {
    file: File,
    interval: Duration,
    watches: Watches,
}

/// The file itself.
#[derive(Clone)]
pub(super) struct File {
    path: Arc<Path>,
    /// Held while it is read: a file system that hangs is to have one thread and no more.
    reading: Arc<Mutex<()>>,
}

impl TokenFile {
    /// The file at this path. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let file = File { path: path.into().into(), reading: Arc::default() };
        Self { file, interval: Duration::from_secs(10), watches: Watches::default() }
    }

    /// How often the file is read; every 10 seconds unless said, and no more often than every 10 ms.
    #[must_use]
    pub fn check_every(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }
}

impl File {
    fn failed(&self, why: &dyn fmt::Display) -> String {
        format!("the token file {}: {why}", self.path.display())
    }

    pub(super) async fn read(&self) -> Result<AccessToken, String> {
        let runtime = Handle::try_current().map_err(|_| self.failed(&"there is no tokio runtime to read it on"))?;
        let turn = timeout(TURN, self.reading.clone().lock_owned()).await;
        let turn = turn.map_err(|_| self.failed(&"the last reading has not ended"))?;
        let path = self.path.clone();
        let read = runtime.spawn_blocking(move || {
            let _turn = turn;
            text_of(&path)
        });
        let text = match read.await {
            Ok(text) => text.map_err(|error| self.failed(&error))?,
            Err(_) => return Err(self.failed(&"the runtime has ended")),
        };
        text::token(&text).map_err(|error| self.failed(&error))
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
        let watched = self.watches.watch(request.refresher(), &self.file, self.interval);
        let file = self.file.clone();
        Box::pin(async move {
            let token = file.read().await.map_err(LoginError::transient)?;
            Ok(match watched {
                Some(watched) => watched.take(token),
                None => token,
            })
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
