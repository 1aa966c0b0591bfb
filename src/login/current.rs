//! Which refresher's login the current task belongs to, so that a login cannot wait for itself.

use std::future::Future;

tokio::task_local! {
    static CURRENT_LOGIN: u32;
}

/// Runs `login` as a login of the refresher with this number.
pub(crate) async fn scope<F: Future>(refresher: u32, login: F) -> F::Output {
    CURRENT_LOGIN.scope(refresher, login).await
}

/// Returns whether the current task is a login of the refresher with this number.
pub(crate) fn is_login_of(refresher: u32) -> bool {
    CURRENT_LOGIN.try_with(|current| *current == refresher).unwrap_or(false)
}

/// Spawns a part of the current login that must run to its end even if the login is dropped.
///
/// The part still counts as that login: it cannot wait for its own token, and its events are in the login's span.
#[cfg(any(feature = "oauth2", feature = "shared"))]
pub(crate) fn spawn_in_login<F>(part: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(feature = "tracing")]
    let part = tracing::Instrument::in_current_span(part);
    match CURRENT_LOGIN.try_with(|current| *current) {
        Ok(refresher) => tokio::spawn(scope(refresher, part)),
        Err(_) => tokio::spawn(part),
    }
}
