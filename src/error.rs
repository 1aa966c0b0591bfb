//! [`BoxError`], and an error's causes.

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

/// The longest chain of causes. `source` is user code, and its chain can be endless.
const MAX_CHAIN: usize = 64;

/// Returns an error and its causes, outermost first.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source()).take(MAX_CHAIN)
}

/// Returns the message of an error and its causes.
#[cfg(any(feature = "serde", feature = "shared", feature = "tonic-0_14"))]
pub(crate) fn message(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
