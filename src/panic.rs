//! Prevents a panic of user code from reaching the refresher's state.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs user code. Returns `None` if it panics; the panic hook has reported the panic.
///
/// This also works in a destructor that runs while a panic unwinds, where an uncaught second panic aborts the process.
pub(crate) fn catch<R>(user_code: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(user_code)).ok()
}
