//! Shares one token between processes, through a [`TokenStore`]: a login service around a login service.
//!
//! Processes that each log in use up the issuer's quota, and destroy each other's sessions where refresh tokens rotate.
//! With a [`SharedTokenLayer`] around their login service, one process logs in and the others use its token.
//!
//! # Protocol
//!
//! When a refresher requests a token, the service does the following:
//!
//! 1. It [claims](TokenStore::claim) the record, together with reading it. If the record's revision is not the one that it
//!    has seen last, the store returns the record and grants nothing.
//! 2. It adopts the record's token if that is newer than the token it returned last, and was not rejected. This ends the
//!    login. The token keeps its age.
//! 3. If the claim is granted, it logs in, in a task of its own, and [extends](TokenStore::extend) the claim until the end
//!    of the login. It [puts](TokenStore::put) the token, which ends the claim.
//! 4. If another process has the claim, it waits for that process. Requests use the current token until it expires. After
//!    [`login_timeout`](SharedTokenLayer::login_timeout), the refresher retries. From the third attempt on, the process logs
//!    in by itself.
//!
//! If the store fails, or takes longer than 500 ms, the service logs in without it. While the current token is valid, it
//! waits for a random time first, so that not all processes log in at once. A store that refuses claims and can be read
//! is still read.
//!
//! A permanent error is put too, so that a wrong password causes one login and not one for each process. The pause until the
//! next login is 5 seconds, and doubles with each permanent error up to a minute. An error with a delay that the issuer
//! requests (`Retry-After`) is put for that time, 5 minutes at most.
//!
//! # What is shared
//!
//! Records are sealed (AES-256-GCM) with keys that the processes have. The store sees a
//! [key](RecordKey), a hash, and the times. The record's key and revision are part of what is authenticated, so a record
//! cannot be replaced by that of another identity.
//!
//! | file | |
//! | --- | --- |
//! | `store` | [`TokenStore`]: the contract of a store |
//! | `identity` | [`TokenIdentity`]: what makes two logins the same login |
//! | `seal` | [`SealingKeys`]: encrypts and authenticates records |
//! | `revision` | the order of revisions |
//! | `payload` | the content of a record |
//! | `adoption` | which token of a record a process adopts (pure) |
//! | `spread` | how logins without the store are spread (pure) |
//! | `sealed_store` | one sealed record, with a time limit for each step |
//! | `settings` | the settings and their defaults |
//! | `waits` | how long a process waits for the store and for other processes (pure) |
//! | `session` | the login service of a process, and what it knows of the record |
//! | `elsewhere` | the errors because of another process |
//! | `examine` | what a process does with a record |
//! | `leader` | the process that logs in for all |
//! | `attempt`, `unshared` | one login, through the store or without it |
//! | `service`, `layer` | [`SharedToken`] and [`SharedTokenLayer`] |
//! | `file` | [`FileTokenStore`]: a store in a directory |
//! | `refresh_token_store` | [`SharedRefreshTokenStore`]: a refresh token that rotates |
//! | `redis` | `RedisTokenStore`: a store in Redis, with the feature `shared-redis` |

mod adoption;
mod attempt;
mod elsewhere;
mod examine;
#[cfg(feature = "shared-file")]
mod file;
mod identity;
mod layer;
mod leader;
mod payload;
#[cfg(feature = "shared-redis")]
mod redis;
#[cfg(feature = "oauth2")]
mod refresh_token_store;
mod revision;
mod seal;
mod sealed_store;
mod service;
mod session;
mod settings;
mod spread;
mod store;
mod unshared;
mod waits;

#[cfg(feature = "shared-file")]
#[cfg_attr(docsrs, doc(cfg(feature = "shared-file")))]
pub use self::file::{FileTokenStore, FileTokenStoreError};
#[cfg(feature = "shared-redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "shared-redis")))]
pub use self::redis::RedisTokenStore;
#[cfg(feature = "oauth2")]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth2")))]
pub use self::refresh_token_store::SharedRefreshTokenStore;
pub use self::{
    identity::TokenIdentity,
    layer::SharedTokenLayer,
    seal::{SealingKey, SealingKeys},
    service::{SharedToken, SharedTokenFuture},
    store::{ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, TokenStore},
};
pub use crate::store_future::StoreFuture;
