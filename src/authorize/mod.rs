//! Puts the current token on each request. Reads the cell, and knows nothing of logins.

mod destination;
mod future;
mod layer;
mod service;
mod waiting;

pub use self::{destination::UnsafeDestination, future::ResponseFuture, layer::AuthRefreshLayer, service::AuthRefresh};
