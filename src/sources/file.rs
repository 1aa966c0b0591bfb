//! [`FileToken`].

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::{file_reader::File, file_watch::WatcherSet};
use crate::{AccessToken, LoginError, LoginRequest};

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
/// [shorter pauses](crate::AuthRefresherBuilder::backoff) are cheap. An
/// [initial token](crate::AuthRefresherBuilder::initial_token) is used until its refresh time. Only then is the file read.
///
/// ```
/// use tower_auth_refresh::{AuthRefresher, sources::FileToken};
///
/// let login = FileToken::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
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
pub struct FileToken {
    file: File,
    watchers: WatcherSet,
}

impl FileToken {
    /// The file at this path. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let file = File::new(path.into());
        Self { watchers: WatcherSet::new(file.clone(), Duration::from_secs(10)), file }
    }

    /// How often the file is read; every 10 seconds unless said, and no more often than every 10 ms.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.watchers = WatcherSet::new(self.file.clone(), interval.max(Duration::from_millis(10)));
        self
    }
}

impl Service<LoginRequest> for FileToken {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: LoginRequest) -> Self::Future {
        let notifier = self.watchers.notifier(request.trigger());
        let file = self.file.clone();
        Box::pin(async move {
            let token = file.read().await.map_err(LoginError::transient)?;
            Ok(match notifier {
                Some(notifier) => notifier.attach(token),
                None => token,
            })
        })
    }
}

impl fmt::Debug for FileToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileToken")
            .field("path", &self.file.path())
            .field("interval", &self.watchers.interval())
            .finish_non_exhaustive()
    }
}
