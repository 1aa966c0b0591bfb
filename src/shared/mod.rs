//! Shares one token between processes, through a [`TokenStore`]: a login service around a login service.
//!
//! Processes that each log in use up the issuer's quota, and end each other's sessions where refresh tokens rotate.
//! With a [`SharedTokenLayer`] around their login service, one process logs in and the others use its token.
//!
//! # Protocol
//!
//! When a refresher requests a token, the service does the following:
//!
//! 1. It [claims](TokenStore::claim) the right to replace the record. The store compares the record's revision with the
//!    one that this process has seen last. If they differ, the store returns the record and grants nothing.
//! 2. If the store returns a record, the service reads it. It adopts the record's token if that is newer than the token
//!    that this process used last, and was not rejected. The login then ends. If it does not adopt the token, it
//!    repeats the claim with the revision of that record.
//! 3. If the claim is granted, the service logs in, in a task of its own. The task [extends](TokenStore::extend) the
//!    claim during the login. Then it [puts](TokenStore::put) the token, which ends the claim.
//! 4. If the claim is denied, another process is logging in. The service repeats the claim every 25 to 100 ms, or up to
//!    every second while the current token is live. Requests use the current token in that time.
//! 5. After [`login_timeout`](SharedTokenLayer::login_timeout), the wait fails, and the refresher retries. From the
//!    third attempt on, the process logs in without the store if the claim stands still: the store has a fault then.
//!
//! An adopted token keeps its age. A token with less than 10 seconds left is not adopted, or with less than an eighth
//! of its lifetime left if that is less.
//!
//! If a call of the store fails, or takes longer than 500 ms, the service logs in without the store. While the current
//! token is live, it waits for a random time first, so that not all processes log in at once. If only the claim fails,
//! it [loads](TokenStore::load) the record first, because a read-only store can still return a newer token.
//!
//! # Errors of other processes
//!
//! A permanent error is put too, so that a wrong password causes one login and not one for each process. Then no
//! process logs in during a *failure pause* of 5 seconds. The pause doubles with each permanent error, up to a minute.
//! An error with a delay that the issuer requests (`Retry-After`) is put for that time, 5 minutes at most.
//!
//! # Encryption
//!
//! The service seals each record (AES-256-GCM) with keys that the processes have. The store sees the
//! [record key](RecordKey), which is a hash, the revision and the times. The record key and the revision are
//! authenticated with the record. So a record cannot be replaced by that of another identity.

// | file | |
// | --- | --- |
// | `store` | `TokenStore`: the contract of a store |
// | `identity` | `TokenIdentity`: what makes two logins the same login |
// | `seal` | `SealingKeys`: encrypts and authenticates records |
// | `revision` | the order of revisions (pure) |
// | `aged_token` | a token with its age |
// | `failure` | the error of a login, and its failure pause |
// | `payload` | the content of a record |
// | `history` | the tokens that a process has used, and which token it adopts (pure) |
// | `spread` | how processes spread their logins without the store (pure) |
// | `waits` | how long a process waits for the store and for other processes (pure) |
// | `sealed_store` | one sealed record, with a time limit for each call of the store |
// | `settings` | the settings and their defaults |
// | `process_state` | the login service of a process, and what the process knows of the record |
// | `other_process` | the errors that another process causes |
// | `examine` | what a process does with a record |
// | `leader` | the process that logs in for all processes |
// | `attempt` | one login through the store |
// | `without_store` | one login without the store |
// | `service`, `layer` | `SharedToken` and `SharedTokenLayer` |
// | `file` | `FileTokenStore`: a store in a directory |
// | `redis` | `RedisTokenStore`: a store in Redis |
// | `refresh_token_store` | `SharedRefreshTokenStore`: a refresh token that rotates |

mod aged_token;
mod attempt;
mod examine;
mod failure;
#[cfg(feature = "shared-file")]
mod file;
mod history;
mod identity;
mod layer;
mod leader;
mod other_process;
mod payload;
mod process_state;
#[cfg(feature = "shared-redis")]
mod redis;
#[cfg(feature = "oauth2")]
mod refresh_token_store;
mod revision;
mod seal;
mod sealed_store;
mod service;
mod settings;
mod spread;
mod store;
mod waits;
mod without_store;

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
