//! [`StatusReceiver`]: follows the status of a refresher.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use tokio::sync::watch;

use super::{
    shared::{NumberedStatus, Shared},
    status::Status,
};

/// Follows the [`Status`] of a refresher. [`AuthRefresher::subscribe`](crate::AuthRefresher::subscribe) returns it.
///
/// It works like a [`tokio::sync::watch::Receiver`], but every method returns a clone of the status. A receiver cannot
/// block the refresher. A slow receiver can miss intermediate statuses, but never the last one. A receiver does not
/// keep the refresher alive.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefresher, LoginRequest, State};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let refresher = AuthRefresher::new(tower::service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") }));
/// let mut statuses = refresher.subscribe();
/// refresher.ready().await?;
/// assert_eq!(statuses.wait_for(|status| status.state == State::Ready).await?.generation, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StatusReceiver {
    changes: watch::Receiver<NumberedStatus>,
    shared: Weak<Shared>,
}

impl StatusReceiver {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { changes: shared.status.subscribe(), shared: Arc::downgrade(shared) }
    }

    /// Returns the current status. After the last handle has been dropped, returns the last one.
    pub fn borrow(&self) -> Status {
        match self.shared.upgrade() {
            Some(shared) => shared.status(),
            None => self.changes.borrow().status.clone(),
        }
    }

    /// Returns the current status and marks it as seen.
    pub fn borrow_and_update(&mut self) -> Status {
        self.changes.mark_unchanged();
        self.borrow()
    }

    /// Marks the current status as seen.
    pub fn mark_unchanged(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits until the status has changed since it was last seen, and marks the new one as seen.
    ///
    /// Dropping the future loses no change.
    ///
    /// # Errors
    ///
    /// The last handle has been dropped, and its last status has been seen.
    pub async fn changed(&mut self) -> Result<(), StatusClosed> {
        self.changes.changed().await.map_err(|_| StatusClosed(()))
    }

    /// Waits until the status meets a condition. Returns that status, and marks it as seen.
    ///
    /// # Errors
    ///
    /// The last handle has been dropped before any status met the condition.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Status, StatusClosed> {
        loop {
            let status = self.borrow_and_update();
            if condition(&status) {
                return Ok(status);
            }
            self.changed().await?;
        }
    }
}

impl fmt::Debug for StatusReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusReceiver").field("status", &self.borrow()).finish()
    }
}

/// The error of a [`StatusReceiver`] whose refresher has been dropped.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefresher, login_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let refresher = AuthRefresher::new(login_fn(|_| async { Ok(AccessToken::bearer("abc")?) }));
/// let mut statuses = refresher.subscribe();
/// drop(refresher);
/// let error = statuses.wait_for(|status| status.generation > 0).await.unwrap_err();
/// assert_eq!(error.to_string(), "refresher dropped");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusClosed(());

impl fmt::Display for StatusClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refresher dropped")
    }
}

impl std::error::Error for StatusClosed {}
