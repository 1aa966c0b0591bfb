//! A refresh token in a [`TokenStore`](super::TokenStore).

// | file | |
// | --- | --- |
// | `content` | the content of the record: the token, and whether it is in use |
// | `record` | the sealed record: loaded, and replaced by compare-and-set |
// | `lock_state` | the progress of a login that has the lock |
// | `lock` | the task that claims the lock, extends the claim and releases it |
// | `store` | `SharedRefreshTokenStore` |

mod content;
mod lock;
mod lock_state;
mod record;
mod store;

pub use self::store::SharedRefreshTokenStore;
