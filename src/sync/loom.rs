//! Models of the primitives, made of loom's.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, LockResult, Mutex as StdMutex, PoisonError, TryLockError, TryLockResult},
};

pub(crate) use ::loom::sync::atomic::AtomicU32;
use ::loom::sync::{
    self,
    atomic::{AtomicUsize, Ordering},
};

/// A mutex whose release is also a switch point. loom's own mutex switches threads only at acquisition, so effects after a
/// release would never cross.
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    mutex: sync::Mutex<T>,
    released: AtomicUsize,
}

pub(crate) struct MutexGuard<'a, T> {
    guard: Option<sync::MutexGuard<'a, T>>,
    released: &'a AtomicUsize,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { mutex: sync::Mutex::new(value), released: AtomicUsize::new(0) }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.mutex.lock() {
            Ok(guard) => Ok(MutexGuard { guard: Some(guard), released: &self.released }),
            Err(_) => panic!("a model does not go on after a panic"),
        }
    }

    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.mutex.try_lock() {
            Ok(guard) => Ok(MutexGuard { guard: Some(guard), released: &self.released }),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut T, PoisonError<&mut T>> {
        self.mutex.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_deref().expect("only `drop` takes it")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_deref_mut().expect("only `drop` takes it")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.guard.take());
        self.released.store(0, Ordering::Relaxed);
    }
}

/// A model of `arc_swap`'s cell. It has the orderings that `arc_swap` documents and no others: a load acquires, a
/// store acquires and releases.
#[derive(Debug)]
pub(crate) struct ArcSwapOption<T> {
    index: AtomicUsize,
    /// All values that were ever in the cell. No thread is switched under this lock.
    values: StdMutex<Vec<Option<Arc<T>>>>,
}

pub(crate) struct Guard<T>(T);

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> ArcSwapOption<T> {
    pub(crate) fn empty() -> Self {
        Self { index: AtomicUsize::new(0), values: StdMutex::new(vec![None]) }
    }

    pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
        let index = self.index.load(Ordering::Acquire);
        Guard(self.values.lock().unwrap()[index].clone())
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        let next = {
            let mut values = self.values.lock().unwrap();
            values.push(value);
            values.len() - 1
        };
        self.index.swap(next, Ordering::AcqRel);
    }
}
