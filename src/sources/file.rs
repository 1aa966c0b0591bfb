//! [`FileToken`]: the token in a file.

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

/// Reads a bearer token from a file that another program keeps up to date, as a login service. An example is the
/// service account token that Kubernetes projects into a pod.
///
/// Each login reads the file, without the white space around the token. The expiry is read from the token if it is a
/// JWT.
///
/// After the first login, the file is also read at an [interval](Self::poll_interval), even without requests. A
/// refresher logs in when the file contains another token. It has no scheduled refreshes, unless the expiry is unknown
/// and there is a [default lifetime](crate::AuthRefresherBuilder::default_lifetime). The readings end when the last
/// clone of this service is dropped. So keep the service in the refresher, and do not create one for each login.
///
/// Clones share their readings. Each reading occupies a thread for blocking work, and there is one at a time. Clones also
/// share one task for each runtime, which follows the file for all refreshers. So thousands of refreshers can use one
/// file.
///
/// The writer should replace the file as a whole: write a new one and rename it. Part of a token can look like a valid
/// one. While the file is missing, logins fail and are retried after the usual pauses. If the file can appear late, set
/// [shorter pauses](crate::AuthRefresherBuilder::backoff). An [initial
/// token](crate::AuthRefresherBuilder::initial_token) is used until its refresh is due. The file is not read before
/// that.
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
/// A login fails with a transient [`LoginError`] if
///
/// - the path is not a regular file, or the file cannot be read,
/// - a reading takes longer than 20 seconds, or
/// - the file is empty, larger than 64 KiB, or not a valid [bearer token](AccessToken::bearer).
///
/// The error names the file, and never shows its content. The refresher keeps its current token.
///
/// # Cancellation
///
/// A login can be dropped at any time. A reading under way continues, for the callers that share it.
#[derive(Clone)]
pub struct FileToken {
    file: File,
    watchers: WatcherSet,
}

impl FileToken {
    /// Creates a login service for the file at this path. Does not read it yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let file = File::new(path.into());
        Self { watchers: WatcherSet::new(file.clone(), Duration::from_secs(10)), file }
    }

    /// Sets how often the file is read after the first login. Defaults to 10 seconds; the minimum is 10 ms.
    ///
    /// Clones made earlier keep their own interval.
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
