//! Prevents a panic of user code from reaching the refresher's state.

use std::{
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs user code. Returns `None` if it panics; the panic hook has reported the panic.
///
/// This also works in a destructor that runs while a panic unwinds, where an uncaught second panic aborts the process.
pub(crate) fn catch<R>(user_code: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(user_code)).ok()
}

/// A value whose drop is user code. A panic of the drop is caught.
pub(crate) struct CatchDrop<T: Default>(T);

impl<T: Default> CatchDrop<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T: Default> Deref for CatchDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Default> DerefMut for CatchDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Default> Drop for CatchDrop<T> {
    fn drop(&mut self) {
        catch(|| drop(std::mem::take(&mut self.0)));
    }
}
