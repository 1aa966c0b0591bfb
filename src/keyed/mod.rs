//! Many identities behind one handle: one refresher for each key, in a bounded cache.
//!
//! In reading order; each file imports only files before it:
//!
//! - `entry`: a key with its refresher
//! - `cache`: the bounded cache, and what pins an entry in it
//! - `error`: why there is no refresher for a key
//! - `creations`: which keys are under creation, and how many keys can be new in a period
//! - `shared`: how a key gets its refresher
//! - `handle`, `builder`: what callers use
//!
//! Each key has a refresher of its own. So the token, the login under way, the backoff and the rejection limit of two
//! keys are separate by construction. The keys share the capacity of the cache and the permits to log in.
//!
//! Four rules keep one refresher per key:
//!
//! 1. **The factory runs under no lock.** Two calls can create a refresher for a new key at the same time. The cache
//!    keeps the first. The other one is dropped, and it has done nothing: a refresher does nothing before its first use.
//! 2. **Insertions and removals exclude each other**, under the lock of the [`Creations`](creations::Creations).
//! 3. **An entry that is in use stays in the cache.** A call that waits, a service that used the key last and a login
//!    under way all pin it ([`KeyCache`](cache::KeyCache)).
//! 4. **A forgotten key is created again.** A refresher whose factory ran before [`AuthRefreshers::forget`] is not
//!    inserted after it.
//!
//! A refresher that has left the cache is *retired*: it logs in only for a call that still has it. Until it is dropped, a
//! weak handle can be upgraded to it too.

mod builder;
mod cache;
mod creations;
mod entry;
mod error;
mod handle;
mod shared;

pub(crate) use self::entry::KeyEntry;
pub use self::{builder::AuthRefreshersBuilder, error::KeyError, handle::AuthRefreshers};
