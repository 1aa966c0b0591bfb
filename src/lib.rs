//! A tower layer that keeps an access token fresh.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod authorize;
mod clock;
mod error;
mod events;
mod expiry;
mod login;
mod token;

#[cfg(feature = "arthur")]
#[cfg_attr(docsrs, doc(cfg(feature = "arthur")))]
pub mod arthur;
#[cfg(feature = "http-client")]
#[cfg_attr(docsrs, doc(cfg(feature = "http-client")))]
pub mod http_client;

pub use authorize::UnsafeDestination;
pub use clock::{Clock, SystemClock};
pub use error::{BoxError, Error};
pub use expiry::Expiry;
pub use login::{LoginError, LoginReason, LoginRequest};
pub use token::{AccessToken, InvalidToken};
