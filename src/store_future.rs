//! [`StoreFuture`]: the future of a store's methods.

use std::{future::Future, pin::Pin};

use crate::BoxError;

/// The future of a store's methods, boxed so that a store can be a trait object.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;
