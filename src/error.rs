//! [`BoxError`], and the walk through an error's causes.

use std::{error::Error, iter::successors};

/// A boxed error, as in tower.
///
/// ```
/// use tower_auth_refresh::BoxError;
///
/// fn expires_in(text: &str) -> Result<u64, BoxError> {
///     Ok(text.parse()?)
/// }
/// assert!(expires_in("an hour").is_err());
/// ```
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Returns an error and its causes, outermost first.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source())
}
