//! A store in a directory, for the processes of one user on one machine.
//!
//! | file of the module | |
//! | --- | --- |
//! | `error` | [`FileTokenStoreError`] |
//! | `format` | a record file's bytes |
//! | `claim` | a lock file's bytes: the claim |
//! | `directory` | the files, and what is done with them: read, lock, replace |
//! | `store` | [`FileTokenStore`]: the directory's operations as a [`TokenStore`](super::TokenStore) |

mod claim;
mod directory;
mod error;
mod format;
mod store;

pub use self::{error::FileTokenStoreError, store::FileTokenStore};
