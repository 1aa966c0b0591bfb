//! A store in a directory, for the processes of one user on one machine.

// | file | |
// | --- | --- |
// | `error` | `FileTokenStoreError` |
// | `format` | the bytes of a record file |
// | `claim` | the bytes of a lock file: the claim |
// | `directory` | the files, and the operations on them: read, lock, replace |
// | `store` | `FileTokenStore`: these operations as a `TokenStore` |

mod claim;
mod directory;
mod error;
mod format;
mod store;

pub use self::{error::FileTokenStoreError, store::FileTokenStore};
