//! The synchronization primitives that the loom models explore.
//!
//! With `--cfg loom_models`, the unit tests use loom's primitives instead of the standard library's. `.ci/loom`
//! runs the models.

#[cfg(all(test, loom_models))]
mod loom;

#[cfg(not(all(test, loom_models)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU32};

#[cfg(not(all(test, loom_models)))]
pub(crate) use arc_swap::{ArcSwapOption, Guard};

#[cfg(all(test, loom_models))]
pub(crate) use self::loom::{ArcSwapOption, AtomicU32, Guard, Mutex, MutexGuard};
