//! [`BoxError`], and an error's causes.

use std::{error::Error, io, iter::successors};

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

/// Returns an error and its causes, outermost first. Includes the errors that `source` skips.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let next = |error: &&'a (dyn Error + 'static)| wrapped(*error).or_else(|| (*error).source());
    successors(Some(error), next).take(MAX_CHAIN)
}

/// Returns the chain without the errors that only repeat the text of the next one.
#[cfg(any(feature = "_transport", feature = "serde", feature = "shared", feature = "tonic-0_14"))]
pub(crate) fn shown_chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    chain(error).filter(|error| wrapped(*error).is_none())
}

/// Returns the error that this one wraps. Both have the same text and the same `source`.
fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    #[cfg(feature = "http-client")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return error.get_io().map(|error| error as _);
    }
    let wrapped = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(wrapped as _)
}

/// Returns the message of an error and its causes.
#[cfg(any(feature = "serde", feature = "shared", feature = "tonic-0_14"))]
pub(crate) fn message(error: &(dyn Error + 'static)) -> String {
    shown_chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(all(test, any(feature = "serde", feature = "tonic-0_14")))]
mod tests {
    use super::*;

    #[test]
    fn message_contains_each_text_once() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "file is missing");
        let error = io::Error::other(io::Error::other(cause));
        assert_eq!(chain(&error).count(), 4);
        assert_eq!(message(&error), "file is missing");
    }
}
