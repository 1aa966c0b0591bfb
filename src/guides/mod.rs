//! Guides, each on one question. [`reliability`](crate::reliability) lists all promises.

// Without the features its code does not compile, and its links lead nowhere.
#[cfg(all(feature = "http-client", feature = "oauth2", feature = "token-file", feature = "token-command"))]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth2")))]
#[doc = include_str!("which_login.md")]
pub mod which_login {}

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("login_service.md")]
pub mod login_service {}

#[cfg(feature = "keyed")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyed")))]
#[doc = include_str!("many_identities.md")]
pub mod many_identities {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}
