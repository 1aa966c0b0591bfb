//! Puts the current token on each request. Reads the cell, and knows nothing of logins.

mod destination;

pub use destination::UnsafeDestination;
#[cfg(feature = "arthur")]
pub(crate) use destination::is_loopback;
